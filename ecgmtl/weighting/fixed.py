"""Constant weights: the baseline of every comparison."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from ecgmtl.settings import Settings
from ecgmtl.weighting.base import Weighted, Weighting, by_task


class FixedSettings(Settings):
    kind: Literal["fixed"] = "fixed"
    weights: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """By task; 1 for those not named."""

    def build(self, tasks: tuple[str, ...]) -> "Fixed":
        return Fixed(by_task(self.weights, tasks, default=1.0))


class Fixed(Weighting):
    r"""The total is :math:`\sum_i w_i L_i`."""

    weights: Tensor

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights))

    def forward(self, losses: Float[Tensor, " task"], progress: float) -> Weighted:
        return Weighted((self.weights * losses).sum(), self.weights)
