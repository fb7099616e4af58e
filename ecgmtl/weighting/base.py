"""What every way of weighting promises."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn


class Weighted(NamedTuple):
    total: Float[Tensor, ""]
    """What is minimised. Only its gradient means anything: never stop or compare by it."""
    weights: Float[Tensor, " task"]
    """The factor on each task's gradient, for the log."""


class Weighting(nn.Module, ABC):
    """Folds the losses of the tasks, in the order of the stage's `losses`, into the one number that is minimised.

    Its parameters learn in a group of their own; what must survive a resumed run lies in parameters and buffers.
    """

    def begin(self, losses: Float[Tensor, " task"]) -> None:
        """Called once, with the mean losses of the first batches of a stage, before its first step."""

    @abstractmethod
    def forward(self, losses: Float[Tensor, " task"], progress: float) -> Weighted:
        """`progress` is the share of the stage's steps that is done, from 0 to 1."""

    def per_task(self) -> dict[str, Float[Tensor, " task"]]:
        """What else is worth a curve in the log, by name, a number a task."""
        return {}

    def end_epoch(self) -> None:
        """Called once after each epoch."""


def by_task(given: dict[str, float], tasks: tuple[str, ...], default: float) -> list[float]:
    """A number a task, in the tasks' order; a name that is none of them is refused.

    Raises:
        ValueError: a weight is given for a task the stage does not learn.
    """
    unknown = sorted(set(given) - set(tasks))
    if unknown:
        raise ValueError(f"weights are given for {', '.join(unknown)}; the stage's losses are {', '.join(tasks)}")
    return [given.get(task, default) for task in tasks]
