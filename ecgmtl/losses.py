"""One loss a task, each a mean over its elements and never negative. A new one is a function and a line in LOSSES."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ecgmtl.model import Batch, MultiTaskModel, Output


def reconstruction(model: MultiTaskModel, output: Output, batch: Batch) -> Float[Tensor, ""]:
    """Mean squared error over the scored samples of the 8 independent leads, in standardised units; 0 without any."""
    if output.reconstruction is None or batch.scored is None:
        raise ValueError("the reconstruction loss needs a reconstruction, and which samples are scored")
    error = output.reconstruction - model.standardise.basis(batch.signals)
    return (error.square() * batch.scored).sum() / batch.scored.sum().clamp(min=1)


def classification(model: MultiTaskModel, output: Output, batch: Batch) -> Float[Tensor, ""]:
    """Binary cross-entropy, the mean over records and labels."""
    if output.logits is None:
        raise ValueError("the classification loss needs logits")
    return F.binary_cross_entropy_with_logits(output.logits, batch.labels)


def auxiliary_classification(model: MultiTaskModel, output: Output, batch: Batch) -> Float[Tensor, ""]:
    """Binary cross-entropy on the second label set."""
    if output.auxiliary_logits is None or batch.auxiliary_labels is None:
        raise ValueError("the loss auxiliary_classification needs a second label set; set auxiliary_labels")
    return F.binary_cross_entropy_with_logits(output.auxiliary_logits, batch.auxiliary_labels)


class Task(NamedTuple):
    loss: Callable[[MultiTaskModel, Output, Batch], Tensor]
    likelihood: Literal["gaussian", "bernoulli"]
    """What the loss is the negative logarithm of, up to scale: uncertainty weighting depends on it."""


MAIN = "classification"
"""The task that a run is judged by; every other one is auxiliary."""

LOSSES: dict[str, Task] = {
    "reconstruction": Task(reconstruction, "gaussian"),
    "classification": Task(classification, "bernoulli"),
    "auxiliary_classification": Task(auxiliary_classification, "bernoulli"),
}
