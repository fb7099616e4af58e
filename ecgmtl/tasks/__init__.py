"""One loss a task, each a mean over its elements. A new one is a file beside these and a line in `loss_of`."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ecgmtl.model.heads import RAREST
from ecgmtl.tasks.base import Seen
from ecgmtl.tasks.classification import ClassificationSettings, classification
from ecgmtl.tasks.contrastive import ContrastiveSettings, contrastive
from ecgmtl.tasks.distillation import distillation
from ecgmtl.tasks.latent import latent
from ecgmtl.tasks.reconstruction import ReconstructionSettings, consistency, reconstruction

MAIN = "classification"
"""The task that a run is judged by; every other one is auxiliary."""

SECOND = "classification_"
"""A task with this before a label set's name learns that set by a classifier of its own."""

TASKS = ("reconstruction", "consistency", "latent", "contrastive", "distillation", MAIN)
"""All beside those of further label sets."""

N_DRAWN = 10_000
"""Records of whom the labels' shares are true to a ten thousandth."""

Likelihood = Literal["gaussian", "bernoulli"]


class Scoring(NamedTuple):
    """How each kind of task is scored."""

    reconstruction: ReconstructionSettings = ReconstructionSettings()
    classification: ClassificationSettings = ClassificationSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()
    prevalence: dict[str, Float[Tensor, " label"]] = {}  # noqa: RUF012  (nobody writes to it)
    """By task, the share of the training records that have each label."""


def likelihood_of(task: str) -> Likelihood:
    """What a task's loss is the negative logarithm of, up to scale: uncertainty weighting depends on it."""
    return "bernoulli" if task.startswith(MAIN) or task in ("contrastive", "distillation") else "gaussian"


def is_known(task: str) -> bool:
    return task in TASKS or (task.startswith(SECOND) and len(task) > len(SECOND))


def loss_of(task: str, seen: Seen, scoring: Scoring) -> Float[Tensor, ""]:
    """One task's loss.

    Raises:
        ValueError: the model gave nothing for this task, or the batch lacks what it is compared with.
    """
    match task:
        case "reconstruction":
            return reconstruction(seen, scoring.reconstruction)
        case "consistency":
            return consistency(seen)
        case "latent":
            return latent(seen)
        case "contrastive":
            return contrastive(seen, scoring.contrastive)
        case "distillation":
            return distillation(seen)
        case _:
            return of_labels(task, seen, scoring)


def of_labels(task: str, seen: Seen, scoring: Scoring) -> Float[Tensor, ""]:
    """The loss of the main label set, or of the further one that the task names."""
    name = task.removeprefix(SECOND) if task.startswith(SECOND) else None
    logits = seen.output.logits if name is None else seen.output.auxiliary_logits.get(name)
    labels = seen.batch.labels if name is None else seen.batch.auxiliary_labels.get(name)
    if logits is None or labels is None:
        what = "logits" if name is None else "that label set; name it in auxiliary_labels"
        raise ValueError(f"the loss {task} needs {what}")
    return classification(logits, labels, scoring.classification, scoring.prevalence.get(task))


def untrained_loss(task: str, scoring: Scoring, batch_size: int) -> float:
    """What to expect of a network that has learnt nothing, whose classifiers start at the labels' shares.

    Of squared errors the variance of what is standardized; of labels what the stage's loss makes of their shares, which
    is their entropy unless it says otherwise; of teachers that know them, the entropy; of contrasts, the logarithm of
    how many views there are to choose from.
    """
    if likelihood_of(task) == "gaussian":
        return 1.0
    if task == "contrastive":
        return math.log(2 * batch_size - 1)
    shares = scoring.prevalence[task if task.startswith(MAIN) else MAIN]
    settings = scoring.classification if task.startswith(MAIN) else ClassificationSettings()
    labels = (torch.arange(N_DRAWN, device=shares.device)[:, None] + 0.5) / N_DRAWN < shares
    logits = torch.logit(shares, eps=RAREST).expand(N_DRAWN, -1)
    return float(classification(logits, labels.float(), settings, shares))


def losses_of(tasks: Sequence[str], learnt: Sequence[bool], seen: Seen, scoring: Scoring) -> list[Float[Tensor, ""]]:
    """The losses in the order of the tasks, each with a graph of its own; a constant 0 for one not learnt now."""
    zero = torch.zeros((), device=seen.batch.signals.device)
    return [loss_of(task, seen, scoring) if now else zero for task, now in zip(tasks, learnt, strict=True)]


__all__ = [
    "MAIN",
    "SECOND",
    "TASKS",
    "ClassificationSettings",
    "ContrastiveSettings",
    "ReconstructionSettings",
    "Scoring",
    "Seen",
    "is_known",
    "likelihood_of",
    "loss_of",
    "losses_of",
    "untrained_loss",
]
