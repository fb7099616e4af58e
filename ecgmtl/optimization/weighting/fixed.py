"""Constant weights: the baseline of every comparison."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from ecgmtl.optimization.weighting.base import MethodSettings, Moment, Weighted, Weighting, by_task


class FixedSettings(MethodSettings):
    """Settings of constant weights."""

    kind: Literal["fixed"] = "fixed"
    weights: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weight by task; 1 for tasks that are not named. A task of weight 0 is not computed at all."""

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Fixed":
        weights = by_task(self.weights, tasks, default=1.0)
        if not any(weights):
            raise ValueError(f"the weights of {', '.join(tasks)} are all 0, so nothing would be learned")
        return Fixed(weights)


class Fixed(Weighting):
    r"""Constant weights: the network follows :math:`\sum_i w_i \nabla L_i`."""

    weights: Tensor

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights))
        self.learned = None if all(weights) else tuple(weight > 0 for weight in weights)

    def active(self, moment: Moment) -> tuple[bool, ...] | None:
        return self.learned

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        return Weighted(self.weights)
