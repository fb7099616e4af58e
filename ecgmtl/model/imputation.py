"""How a record's leads go together, learnt from that record alone, and what that tells of its hidden samples.

What leads have in common differs from patient to patient: where electrodes sit, how the heart lies, where a wave is.
A decoder knows the usual. Where a lead is seen for part of the record, the record itself knows better.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

DRAWN = 0.2
"""Variance of what is wrong with a drawn sample, in standardized units; with ROUNDS and PRIOR chosen on 64 training
records of PTB-XL, for leads hidden in blocks each by itself as for five of eight hidden throughout.
"""
MEASURED = 1e-4
"""That of a measured one: as good as none, but no lead may be a multiple of another."""
PRIOR = 1.0
"""Added to each lead's sum of squares: leads that are flat, or nearly so, predict nothing."""
PRIOR_SAMPLES = 20
"""How many samples that counts for."""
ROUNDS = 4


def impute(
    drawing: Float[Tensor, "batch lead time"], mask: Bool[Tensor, "batch lead time"]
) -> Float[Tensor, "batch lead time"]:
    r"""The same in standardized units, with each hidden sample as likely as what the other leads show at its moment.

    `drawing` is drawn where `hidden` and measured elsewhere. Its samples y_t are taken for x_t with noise of variances
    r_t, DRAWN or MEASURED, and x_t for Gaussian with a covariance S of the record's own, which is found by expectation
    maximisation (Dempster et al., 1977, section 4.1): :math:`\hat x_t = S (S + R_t)^{-1} y_t` with
    :math:`C_t = S - S (S + R_t)^{-1} S`, then S is the mean of :math:`\hat x_t \hat x_t^\top + C_t`.
    """
    n_leads, n_samples = drawing.shape[1:]
    seen = drawing.double().transpose(1, 2)
    patterns = Patterns.of(mask)
    noise = torch.where(patterns.mask, DRAWN, MEASURED).to(seen)
    prior = PRIOR * torch.eye(n_leads, dtype=seen.dtype, device=seen.device)
    likely, doubt = seen, torch.zeros_like(prior)
    for _ in range(ROUNDS):
        covariance = (prior + likely.transpose(1, 2) @ likely + doubt) / (PRIOR_SAMPLES + n_samples)
        each = covariance[patterns.record]
        gain = torch.linalg.solve(each + torch.diag_embed(noise), each)  # of each pattern, transposed
        likely = (seen.reshape(-1, 1, n_leads) @ gain[patterns.place]).view_as(seen)
        doubt = torch.zeros_like(covariance).index_add_(
            0, patterns.record, patterns.n_samples[:, None, None] * (each - each @ gain)
        )
    return torch.where(mask, likely.transpose(1, 2).to(drawing.dtype), drawing)


class Patterns(NamedTuple):
    """Which leads are hidden together at some sample of a record: there are far fewer of them than samples."""

    record: Int64[Tensor, " pattern"]
    mask: Bool[Tensor, "pattern lead"]
    n_samples: Int64[Tensor, " pattern"]
    place: Int64[Tensor, " sample"]
    """Of each sample, record after record, its pattern."""

    @classmethod
    def of(cls, mask: Bool[Tensor, "batch lead time"]) -> "Patterns":
        batch, n_leads, _ = mask.shape
        bits = torch.arange(n_leads, device=mask.device)
        records = torch.arange(batch, device=mask.device)[:, None] << n_leads
        codes = records + (mask.long() << bits[:, None]).sum(dim=1)
        found, place, n_samples = codes.flatten().unique(return_inverse=True, return_counts=True)
        return cls(found >> n_leads, (found[:, None] >> bits & 1).bool(), n_samples, place)
