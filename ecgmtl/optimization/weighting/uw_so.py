"""Soft optimal uncertainties: a softmax of the inverse losses (Kirchdorfer et al., GCPR 2024, arXiv 2408.07985)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveFloat
from torch import Tensor

from ecgmtl.optimization.weighting.base import MethodSettings, Moment, RunningMean, Weighted, Weighting, refuse_negative


class UwSoSettings(MethodSettings):
    """Settings of soft optimal uncertainties."""

    needs_positive: ClassVar[bool] = True
    kind: Literal["uw_so"] = "uw_so"
    temperature: PositiveFloat = 20.0
    """Temperature in units of an inverse loss; about 1 over the smallest loss is a good choice."""
    smoothing: float = Field(0.9, ge=0, lt=1)
    """Decay of the running mean of the losses per step; 0 uses each step's own losses."""
    floor: float = Field(0.0, ge=0, lt=1)
    """Lowest weight."""
    scaled: bool = False
    """Whether each loss is divided by that of the stage's first batch. Then a temperature near 1 suits all losses."""

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "UwSo":
        if self.floor * len(tasks) >= 1:
            raise ValueError(f"{len(tasks)} weights above {self.floor} cannot add up to 1; set a lower weighting.floor")
        return UwSo(len(tasks), self)


class UwSo(Weighting):
    r"""Weights :math:`w = \mathrm{softmax}\left(\frac{1}{(L + 10^{-8})\,T}\right)`, which add up to 1.

    Small losses saturate it: for the losses (0.05, 0.30) the weights are (1.000, 0.000) at T = 1, which switches the
    second task off, and (0.70, 0.30) at T = 20. With a floor f they become :math:`f + (1 - n f) w` for n tasks.
    """

    first: Tensor

    def __init__(self, n_tasks: int, settings: UwSoSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("first", torch.ones(n_tasks))
        self.losses = RunningMean(n_tasks, settings.smoothing)

    def begin(self, losses: Float[Tensor, " task"]) -> None:
        refuse_negative(losses, "uw_so")
        if self.settings.scaled:
            self.first.copy_(losses.float().clamp(min=1e-8))

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        refuse_negative(losses, "uw_so")
        smooth = self.losses(losses) / self.first
        weights = torch.softmax(1 / ((smooth + 1e-8) * self.settings.temperature), dim=0)
        floor = self.settings.floor
        return Weighted(floor + (1 - len(weights) * floor) * weights)
