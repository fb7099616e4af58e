"""One task at a time, in turns."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from ecgmtl.optimization.weighting.base import MethodSettings, Moment, Weighted, Weighting, by_task


class AlternatingSettings(MethodSettings):
    kind: Literal["alternating"] = "alternating"
    by: Literal["step", "epoch"] = "step"
    """What a turn is counted in."""
    turns: dict[str, PositiveInt] = Field(default_factory=dict)
    """By task, how many steps or epochs it has before the next one's turn; 1 for those not named."""

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Alternating":
        turns = by_task(self.turns, tasks, default=1, what="turns")
        order = [place for place, count in enumerate(turns) for _ in range(int(count))]
        return Alternating(len(tasks), order, self.by)


class Alternating(Weighting):
    """The task whose turn it is has the weight 1, and the others are not computed.

    Turns go round in the order of the stage's losses, from its first step. The tasks share Adam's moments: in the
    encoder a step of one task still moves along what the others' gradients left there.
    """

    weights: Tensor

    def __init__(self, n_tasks: int, order: list[int], by: Literal["step", "epoch"]) -> None:
        super().__init__()
        self.order, self.by = order, by
        self.turns = [tuple(task == turn for task in range(n_tasks)) for turn in range(n_tasks)]
        self.register_buffer("weights", torch.eye(n_tasks), persistent=False)

    def turn(self, moment: Moment) -> int:
        """The place of the task that is learnt at this step."""
        return self.order[(moment.step if self.by == "step" else moment.epoch) % len(self.order)]

    def active(self, moment: Moment) -> tuple[bool, ...]:
        return self.turns[self.turn(moment)]

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        return Weighted(self.weights[self.turn(moment)])
