"""Alternating training: one task at a time, in turns."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from ecgmtl.optimization.weighting.base import MethodSettings, Moment, Weighted, Weighting, by_task


class AlternatingSettings(MethodSettings):
    """Settings of alternating training."""

    kind: Literal["alternating"] = "alternating"
    by: Literal["step", "epoch"] = "step"
    """Unit of a turn."""
    turns: dict[str, PositiveInt] = Field(default_factory=dict)
    """Length of a task's turn in steps or epochs, by task; 1 for tasks that are not named."""

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Alternating":
        turns = by_task(self.turns, tasks, default=1, what="turns")
        order = [task for task, count in enumerate(turns) for _ in range(int(count))]
        return Alternating(len(tasks), order, self.by)


class Alternating(Weighting):
    """Weight 1 for the task whose turn it is. The others are not computed.

    Turns follow the order of the stage's losses, from its first step. The tasks share Adam's moments: in the encoder a
    step of one task still moves along the momentum of the others' gradients.
    """

    weights: Tensor

    def __init__(self, n_tasks: int, order: list[int], by: Literal["step", "epoch"]) -> None:
        super().__init__()
        self.order, self.by = order, by
        self.turns = [tuple(task == turn for task in range(n_tasks)) for turn in range(n_tasks)]
        self.register_buffer("weights", torch.eye(n_tasks), persistent=False)

    def turn(self, moment: Moment) -> int:
        """Return the index of the task that is learned at this step."""
        return self.order[(moment.step if self.by == "step" else moment.epoch) % len(self.order)]

    def active(self, moment: Moment) -> tuple[bool, ...]:
        return self.turns[self.turn(moment)]

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        return Weighted(self.weights[self.turn(moment)])
