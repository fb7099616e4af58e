"""Imputation of masked samples by the covariance of a record's leads, estimated from that record alone.

How leads correlate differs from patient to patient: where electrodes sit, how the heart lies, where a wave is. A
decoder knows the usual correlation. Where a lead is visible for part of the record, the record itself knows better.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

RECONSTRUCTED = 0.2
"""Error variance of a reconstructed sample, in standardized units. With ROUNDS and PRIOR chosen on 64 training records
of PTB-XL, for leads that are masked independently in blocks, and for five of eight leads masked throughout.
"""
MEASURED = 1e-4
"""Error variance of a measured sample: nearly none, but enough where one lead is a multiple of another."""
PRIOR = 1.0
"""Value added to each lead's sum of squares, so that flat or nearly flat leads predict nothing."""
PRIOR_SAMPLES = 20
"""Number of samples that the prior counts for."""
ROUNDS = 4
"""Number of rounds of expectation maximization."""


def impute(
    signals: Float[Tensor, "batch lead time"], mask: Bool[Tensor, "batch lead time"]
) -> Float[Tensor, "batch lead time"]:
    r"""Return standardized signals with each masked sample at its expectation, given the other leads at its time.

    `signals` are reconstructed where `mask` is true and measured elsewhere. Their samples y_t are taken for x_t with
    noise of variances r_t, RECONSTRUCTED or MEASURED, and x_t for Gaussian with a covariance S of the record's own,
    which is estimated by expectation maximization (Dempster et al., 1977, section 4.1):
    :math:`\hat x_t = S (S + R_t)^{-1} y_t` with :math:`C_t = S - S (S + R_t)^{-1} S`, then S is the mean of
    :math:`\hat x_t \hat x_t^\top + C_t`.
    """
    n_leads, n_samples = signals.shape[1:]
    observed = signals.double().transpose(1, 2)
    patterns = Patterns.of(mask)
    noise = torch.where(patterns.mask, RECONSTRUCTED, MEASURED).to(observed)
    prior = PRIOR * torch.eye(n_leads, dtype=observed.dtype, device=observed.device)
    expected, uncertainty = observed, torch.zeros_like(prior)
    for _ in range(ROUNDS):
        covariance = (prior + expected.transpose(1, 2) @ expected + uncertainty) / (PRIOR_SAMPLES + n_samples)
        each = covariance[patterns.record]
        gain = torch.linalg.solve(each + torch.diag_embed(noise), each)  # of each pattern, transposed
        expected = (observed.reshape(-1, 1, n_leads) @ gain[patterns.of_sample]).view_as(observed)
        uncertainty = torch.zeros_like(covariance).index_add_(
            0, patterns.record, patterns.n_samples[:, None, None] * (each - each @ gain)
        )
    return torch.where(mask, expected.transpose(1, 2).to(signals.dtype), signals)


class Patterns(NamedTuple):
    """Sets of leads that are masked together at some sample of a record. They are far fewer than samples."""

    record: Int64[Tensor, " pattern"]
    mask: Bool[Tensor, "pattern lead"]
    n_samples: Int64[Tensor, " pattern"]
    of_sample: Int64[Tensor, " sample"]
    """Index of each sample's pattern, record after record."""

    @classmethod
    def of(cls, mask: Bool[Tensor, "batch lead time"]) -> "Patterns":
        """Collect the distinct patterns of a mask."""
        batch, n_leads, _ = mask.shape
        bits = torch.arange(n_leads, device=mask.device)
        records = torch.arange(batch, device=mask.device)[:, None] << n_leads
        codes = records + (mask.long() << bits[:, None]).sum(dim=1)
        distinct, index, n_samples = codes.flatten().unique(return_inverse=True, return_counts=True)
        return cls(distinct >> n_leads, (distinct[:, None] >> bits & 1).bool(), n_samples, index)
