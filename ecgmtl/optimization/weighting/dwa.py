"""Dynamic weight average: larger weights for losses that fell little in the last epochs (Liu et al., CVPR 2019)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveFloat
from torch import Tensor

from ecgmtl.optimization.weighting.base import MethodSettings, Moment, Weighted, Weighting, by_task, refuse_negative


class DwaSettings(MethodSettings):
    """Settings of dynamic weight average."""

    needs_positive: ClassVar[bool] = True
    kind: Literal["dwa"] = "dwa"
    temperature: PositiveFloat = 2.0
    """Temperature; the larger it is, the more equal are the weights."""
    base: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Constant factor on a weight, by task, since the method ignores the scale of losses; 1 for tasks not named."""

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Dwa":
        return Dwa(by_task(self.base, tasks, default=1.0, what="base weights"), self.temperature)


class Dwa(Weighting):
    r"""Weights :math:`b_i\, n\, \mathrm{softmax}_i\!\left(\frac{L_i(e-1)}{L_i(e-2)} / \tau\right)` in epoch e.

    L are means over an epoch, n is the number of tasks, b is the base. In the first two epochs the weights are b. For
    two tasks whose losses never rise over an epoch and :math:`\tau = 2`, all weights lie within [0.755, 1.245] b.
    """

    base: Tensor
    weights: Tensor
    total: Tensor
    n_steps: Tensor
    last: Tensor
    n_epochs: Tensor

    def __init__(self, base: list[float], temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.register_buffer("base", torch.tensor(base))
        self.register_buffer("weights", torch.tensor(base))
        self.register_buffer("total", torch.zeros(len(base)))
        self.register_buffer("n_steps", torch.zeros(()))
        self.register_buffer("last", torch.zeros(len(base)))
        self.register_buffer("n_epochs", torch.zeros(()))

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        refuse_negative(losses, "dwa")
        fine = losses.isfinite().all()
        self.total = torch.where(fine, self.total + losses.float(), self.total)
        self.n_steps = self.n_steps + fine
        return Weighted(self.weights)

    def end_epoch(self) -> None:
        mean = self.total / self.n_steps.clamp(min=1)
        share = torch.softmax(mean / self.last.clamp(min=1e-8) / self.temperature, dim=0)
        self.n_epochs = self.n_epochs + 1
        self.weights = torch.where(self.n_epochs < 2, self.base, self.base * len(share) * share)
        self.last = mean
        self.total, self.n_steps = torch.zeros_like(self.total), torch.zeros_like(self.n_steps)
