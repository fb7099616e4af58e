"""FAMO: weights for which all losses fall at the same relative rate (Liu et al., NeurIPS 2023, arXiv 2306.03792)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from ecgmtl.optimization.weighting.base import MethodSettings, Moment, Weighted, Weighting, by_task, refuse_negative

STATE = ("logits", "mean", "square", "n_updates")
"""Buffers that change with the steps."""

BETAS = (0.9, 0.999)
"""Adam's decays of the running means of the gradient and its square."""


class FamoSettings(MethodSettings):
    """Settings of FAMO."""

    needs_positive: ClassVar[bool] = True
    kind: Literal["famo"] = "famo"
    lr: PositiveFloat = 0.025
    """Learning rate of the logits of the weights."""
    decay: NonNegativeFloat = 0.01
    """Weight decay of the logits, which pulls the weights together; the authors use 0.001 or 0.01 by data set."""
    minimum: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Lower bound of the loss, by task; 0 for tasks that are not named."""

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Famo":
        return Famo(by_task(self.minimum, tasks, default=0.0, what="least losses"), self)


class Famo(Weighting):
    r"""Weights :math:`w_i = c\, z_i / D_i` with :math:`z = \mathrm{softmax}(\xi)`.

    :math:`D_i = L_i - b_i + 10^{-8}` is the loss above its minimum b, and :math:`c = (\sum_i z_i / D_i)^{-1}`, so that
    w is the gradient of :math:`c \sum_i z_i \log D_i` for constant z and c. The weights add up to 1, whatever the scale
    of the losses; equal weights of 1 move SGD as far as n times these.

    After the step, the losses of the same batch show how much each fell, :math:`\delta_i = \log D_i - \log D_i'`, and
    Adam moves :math:`\xi` along :math:`-\nabla_\xi \sum_i z_i \delta_i`. That needs a further forward pass, with the
    same mask, dropout and normalization statistics.
    """

    looks_again = True
    minimum: Tensor
    logits: Tensor
    log_before: Tensor
    mean: Tensor
    square: Tensor
    n_updates: Tensor

    def __init__(self, minimum: list[float], settings: FamoSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("minimum", torch.tensor(minimum))
        for name in STATE[:-1]:
            self.register_buffer(name, torch.zeros(len(minimum)))
        self.register_buffer("log_before", torch.zeros(len(minimum)), persistent=False)
        self.register_buffer("n_updates", torch.zeros(()))

    def above(self, losses: Float[Tensor, " task"]) -> Float[Tensor, " task"]:
        """Return the losses above their minimum."""
        return (losses.float() - self.minimum).clamp(min=0) + 1e-8

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        refuse_negative(
            losses.float() - self.minimum, "famo", "losses that, less weighting.minimum, are never negative"
        )
        above = self.above(losses)
        self.log_before = above.log()
        shares = torch.softmax(self.logits, dim=0) / above
        return Weighted(shares / shares.sum())

    def look_again(self, losses: Float[Tensor, " task"]) -> None:
        fell = self.log_before - self.above(losses).log()
        shares = torch.softmax(self.logits, dim=0)
        kept = {name: getattr(self, name) for name in STATE}
        self.step(shares * (fell - (shares * fell).sum()))
        for name, value in kept.items():  # an overflow in the network's step leaves the state unchanged
            setattr(self, name, torch.where(fell.isfinite().all(), getattr(self, name), value))

    def step(self, gradient: Float[Tensor, " task"]) -> None:
        """Take a step of Adam (Kingma and Ba, 2015) with the decay in the gradient. Its state lies in buffers."""
        gradient = gradient + self.settings.decay * self.logits
        fast, slow = BETAS
        self.n_updates = self.n_updates + 1
        self.mean = fast * self.mean + (1 - fast) * gradient
        self.square = slow * self.square + (1 - slow) * gradient.square()
        mean = self.mean / (1 - fast**self.n_updates)
        square = self.square / (1 - slow**self.n_updates)
        self.logits = self.logits - self.settings.lr * mean / (square.sqrt() + 1e-8)

    def per_task(self) -> dict[str, Float[Tensor, " task"]]:
        return {"share": torch.softmax(self.logits, dim=0)}
