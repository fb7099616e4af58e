"""How far a redrawn signal is from the true one, and 12 drawn leads from one another."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveFloat
from torch import Tensor

from ecgmtl.device import average_over_ranks
from ecgmtl.model.network import Output
from ecgmtl.settings import Settings
from ecgmtl.tasks.base import Seen


class ReconstructionSettings(Settings):
    """How a redrawn signal is compared with the true one, sample by sample, in standardized units."""

    kind: Literal["mse", "huber", "beta_nll"] = "mse"
    """Squared error; Huber's, for artifacts are rare and huge; or the likelihood of a variance a sample and lead."""
    delta: PositiveFloat = 1.0
    """huber: errors above this count linearly."""
    beta: float = Field(0.5, ge=0, le=1)
    """beta_nll: 0 is the likelihood itself, which gives up where it errs most, 1 weighs all samples alike."""
    warmup: float = Field(0.1, ge=0, le=1)
    """beta_nll: over this share of the stage's steps the squared error is learnt first, and no variance."""
    target: Literal["own", "shuffled"] = "own"
    """shuffled: another record of the batch is the truth, a control whose gradient tells nothing of this one."""

    @property
    def can_be_negative(self) -> bool:
        return self.kind == "beta_nll"


def reconstruction(seen: Seen, settings: ReconstructionSettings) -> Float[Tensor, ""]:
    """Mean error over the scored samples of the drawn leads, in standardized units; 0 without any.

    beta_nll is Seitzer et al. (ICLR 2022), equation 5: sg[exp(beta s)] (s + error^2 exp(-s)) / 2 with s = log variance.
    """
    drawn = seen.output.reconstruction
    if drawn is None or seen.batch.scored is None:
        raise ValueError("the reconstruction loss needs a reconstruction, and which samples are scored")
    scored = seen.model.scored(seen.batch.scored)
    truth = seen.model.standardize.basis(seen.batch.signals)
    if settings.target == "shuffled":
        truth = truth.roll(1, dims=0)
    error = drawn - truth
    if settings.kind == "huber":
        each = 2 * F.huber_loss(drawn, truth, reduction="none", delta=settings.delta)  # error^2 where it is small
    elif settings.kind == "beta_nll" and seen.progress >= settings.warmup:
        log_var = variance_of(seen.output)
        each = (settings.beta * log_var).exp().detach() * 0.5 * (log_var + error.square() * torch.exp(-log_var))
    else:
        each = error.square()
    # of parallel processes each hides as many samples as chance will have it: their mean is that of all samples
    return (each * scored).sum() / average_over_ranks(scored.sum()).clamp(min=1)


def variance_of(output: Output) -> Float[Tensor, "batch drawn time"]:
    if output.log_var is None:
        raise ValueError("beta_nll needs a decoder that draws a variance; set decoder.log_var")
    return output.log_var


def consistency(seen: Seen) -> Float[Tensor, ""]:
    """How far 12 drawn leads are from Einthoven's and Goldberger's identities: mean squared violation.

    In units of the derived lead's standard deviation, over all samples of III, aVR, aVL and aVF.
    """
    if seen.output.reconstruction is None or not seen.model.draws_all:
        raise ValueError("the consistency loss needs a decoder that draws all 12 leads; set decoder.leads to 12")
    return seen.model.violation(seen.output.reconstruction).square().mean()
