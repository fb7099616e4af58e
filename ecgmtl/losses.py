"""One loss a task, each a mean over its elements. A new one is a function and a line in LOSSES."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveFloat
from torch import Tensor

from ecgmtl.model import Batch, MultiTaskModel, Output
from ecgmtl.settings import Settings

MAIN = "classification"
"""The task that a run is judged by; every other one is auxiliary."""

SECOND = "classification_"
"""A task with this before a label set's name learns that set by a classifier of its own."""

Likelihood = Literal["gaussian", "bernoulli"]


class ReconstructionSettings(Settings):
    """How a redrawn signal is compared with the true one, sample by sample, in standardised units."""

    kind: Literal["mse", "huber", "beta_nll"] = "mse"
    """Squared error; Huber's, for artefacts are rare and huge; or the likelihood of a variance a sample and lead."""
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


class Seen(NamedTuple):
    """All that a loss may depend on."""

    model: MultiTaskModel
    output: Output
    batch: Batch
    scoring: ReconstructionSettings
    progress: float
    """The share of the stage's steps that is done."""


def reconstruction(seen: Seen) -> Float[Tensor, ""]:
    """Mean error over the scored samples of the drawn leads, in standardised units; 0 without any.

    beta_nll is Seitzer et al. (ICLR 2022), equation 5: sg[exp(beta s)] (s + error^2 exp(-s)) / 2 with s = log variance.
    """
    drawn, scoring = seen.output.reconstruction, seen.scoring
    if drawn is None or seen.batch.scored is None:
        raise ValueError("the reconstruction loss needs a reconstruction, and which samples are scored")
    scored = seen.model.scored(seen.batch.scored)
    truth = seen.model.standardise.basis(seen.batch.signals)
    if scoring.target == "shuffled":
        truth = truth.roll(1, dims=0)
    error = drawn - truth
    if scoring.kind == "huber":
        each = 2 * F.huber_loss(drawn, truth, reduction="none", delta=scoring.delta)  # error^2 where it is small
    elif scoring.kind == "beta_nll" and seen.progress >= scoring.warmup:
        log_var = variance_of(seen.output)
        each = (scoring.beta * log_var).exp().detach() * 0.5 * (log_var + error.square() * torch.exp(-log_var))
    else:
        each = error.square()
    return (each * scored).sum() / scored.sum().clamp(min=1)


def variance_of(output: Output) -> Float[Tensor, "batch drawn time"]:
    if output.log_var is None:
        raise ValueError("beta_nll needs a decoder that draws a variance; set decoder.log_var")
    return output.log_var


def consistency(seen: Seen) -> Float[Tensor, ""]:
    """How far 12 drawn leads are from Einthoven's and Goldberger's identities: mean squared violation.

    In units of the derived lead's standard deviation, over all samples of III, aVR, aVL and aVF.
    """
    if seen.output.reconstruction is None or len(seen.model.drawn_leads) != seen.model.lead_algebra.shape[0]:
        raise ValueError("the consistency loss needs a decoder that draws all 12 leads; set decoder.leads to 12")
    return seen.model.violation(seen.output.reconstruction).square().mean()


def classification(seen: Seen) -> Float[Tensor, ""]:
    """Binary cross-entropy, the mean over records and labels."""
    if seen.output.logits is None:
        raise ValueError("the classification loss needs logits")
    return F.binary_cross_entropy_with_logits(seen.output.logits, seen.batch.labels)


def second_classification(seen: Seen, label_set: str) -> Float[Tensor, ""]:
    """Binary cross-entropy on another label set."""
    if label_set not in seen.output.auxiliary_logits or label_set not in seen.batch.auxiliary_labels:
        raise ValueError(f"the loss {SECOND}{label_set} needs that label set; name it in auxiliary_labels")
    logits, labels = seen.output.auxiliary_logits[label_set], seen.batch.auxiliary_labels[label_set]
    return F.binary_cross_entropy_with_logits(logits, labels)


LOSSES: dict[str, Callable[[Seen], Tensor]] = {
    "reconstruction": reconstruction,
    "consistency": consistency,
    MAIN: classification,
}


def likelihood_of(task: str) -> Likelihood:
    """What a task's loss is the negative logarithm of, up to scale: uncertainty weighting depends on it."""
    return "bernoulli" if task.startswith(MAIN) else "gaussian"


def is_known(task: str) -> bool:
    return task in LOSSES or (task.startswith(SECOND) and len(task) > len(SECOND))


def loss_of(task: str, seen: Seen) -> Float[Tensor, ""]:
    if task.startswith(SECOND):
        return second_classification(seen, task.removeprefix(SECOND))
    return LOSSES[task](seen)


def losses_of(tasks: Sequence[str], learnt: Sequence[bool], seen: Seen) -> list[Float[Tensor, ""]]:
    """The losses in the order of the tasks, each with a graph of its own; a constant 0 for one not learnt now."""
    zero = torch.zeros((), device=seen.batch.signals.device)
    return [loss_of(task, seen) if now else zero for task, now in zip(tasks, learnt, strict=True)]
