"""Learnt task uncertainties (Kendall, Gal and Cipolla, CVPR 2018), in log-variance form."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ecgmtl.losses import LOSSES
from ecgmtl.settings import Settings
from ecgmtl.weighting.base import Weighted, Weighting

SCALE = {"gaussian": 0.5, "bernoulli": 1.0}
"""What stands before exp(-s) L for each likelihood (Kendall et al., equations 5 and 10)."""

LIMIT = 10.0
"""Log-variances stay within ±10, or a loss that reaches 0 would take all of the gradient."""


class UncertaintySettings(Settings):
    kind: Literal["uncertainty"] = "uncertainty"

    def build(self, tasks: tuple[str, ...]) -> "Uncertainty":
        return Uncertainty([SCALE[LOSSES[task].likelihood] for task in tasks])


class Uncertainty(Weighting):
    r"""The total is :math:`\sum_i k_i e^{-s_i} L_i + \tfrac12 s_i` with a learnt :math:`s_i = \log\sigma_i^2` a task.

    k is 1/2 for a Gaussian likelihood and 1 for a Bernoulli one; for both the weight at the optimum is 1/(2L). It has
    no minimum for a negative loss, which is therefore refused.
    """

    scale: Tensor

    def __init__(self, scale: list[float]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.log_var = nn.Parameter(torch.zeros(len(scale)))

    @torch.no_grad()
    def begin(self, losses: Float[Tensor, " task"]) -> None:
        """Start at the optimum for these losses, log(2 k L): learning from 0 would take up to thousands of steps."""
        refuse_negative(losses)
        self.log_var.copy_(torch.log(2 * self.scale * losses.clamp(min=1e-8)).clamp(-LIMIT, LIMIT))

    def forward(self, losses: Float[Tensor, " task"], progress: float) -> Weighted:
        refuse_negative(losses)
        with torch.no_grad():
            self.log_var.clamp_(-LIMIT, LIMIT)  # the parameter itself: a clamped copy would pass no gradient back
        weights = self.scale * torch.exp(-self.log_var)
        return Weighted((weights * losses + 0.5 * self.log_var).sum(), weights.detach())

    def per_task(self) -> dict[str, Float[Tensor, " task"]]:
        return {"log_var": self.log_var.detach().clone()}


def refuse_negative(losses: Float[Tensor, " task"]) -> None:
    """Raise where a loss is negative. On an accelerator the total is watched by the trainer instead: no sync a step.

    Raises:
        ValueError: a loss is below zero.
    """
    if losses.device.type == "cpu" and bool((losses < 0).any()):
        found = ", ".join(f"{loss:.4g}" for loss in losses.tolist())
        raise ValueError(f"uncertainty weighting needs losses that are never negative; found {found}")
