"""Learned task uncertainties (Kendall, Gal and Cipolla, CVPR 2018), in log-variance form."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ecgmtl.optimization.weighting.base import MethodSettings, Moment, Weighted, Weighting, refuse_negative
from ecgmtl.tasks import build_task

SCALE = {"gaussian": 0.5, "bernoulli": 1.0}
"""Factor before exp(-s) L by likelihood (Kendall et al., equations 5 and, approximately, 10)."""

LIMIT = 10.0
"""Limit of log-variances in both directions; without it, a loss that reaches 0 would get all of the gradient."""

Regularizer = Literal["log", "liebel"]


class UncertaintySettings(MethodSettings):
    """Settings of learned task uncertainties."""

    needs_positive: ClassVar[bool] = True
    kind: Literal["uncertainty"] = "uncertainty"
    regularizer: Regularizer = "log"
    """Regularizer of the variances: log(sigma), or log(1 + sigma^2), which is never negative."""

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Uncertainty":
        return Uncertainty([SCALE[build_task(task).likelihood] for task in tasks], self.regularizer)


class Uncertainty(Weighting):
    r"""Weights :math:`k_i e^{-s_i}` with a learned :math:`s_i = \log\sigma_i^2` for each task.

    s descends :math:`\sum_i k_i e^{-s_i} L_i + R(s_i)`, where k is 1/2 for a Gaussian likelihood and 1 for a Bernoulli
    one. Neither has a minimum for a negative loss, which is therefore refused.

    log: :math:`R = s/2` (Kendall et al.). For both likelihoods the weight at the optimum is 1/(2L), so that a task
    with a large loss gets a small weight.

    liebel: :math:`R = \log(1 + e^s)` (Liebel and Körner, 2018). The weight grows as
    :math:`\sqrt{k/L}` only when the loss goes to 0: 6.8 instead of 50 for a Gaussian loss of 0.01.
    """

    scale: Tensor

    def __init__(self, scale: list[float], regularizer: Regularizer) -> None:
        super().__init__()
        self.regularizer = regularizer
        self.register_buffer("scale", torch.tensor(scale))
        self.log_var = nn.Parameter(torch.zeros(len(scale)))

    @torch.no_grad()
    def begin(self, losses: Float[Tensor, " task"]) -> None:
        r"""Start at the optimum for these losses, because learning from 0 would take up to thousands of steps.

        The losses are of one batch, and learning then corrects them: running means of an earlier stage would be of
        other masks and other crops.

        log: :math:`\sigma^2 = 2kL`. liebel: the positive root of :math:`\sigma^4 = kL (1 + \sigma^2)`.
        """
        refuse_negative(losses, "uncertainty")
        scaled = self.scale * losses.float().clamp(min=1e-8)
        optimum = {"log": 2 * scaled, "liebel": (scaled + torch.sqrt(scaled.square() + 4 * scaled)) / 2}
        self.log_var.copy_(torch.log(optimum[self.regularizer]).clamp(-LIMIT, LIMIT))

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        refuse_negative(losses, "uncertainty")
        with torch.no_grad():
            self.log_var.clamp_(-LIMIT, LIMIT)  # the parameter itself: a clamped copy would pass no gradient back
        weights = self.scale * torch.exp(-self.log_var)
        penalty = 0.5 * self.log_var if self.regularizer == "log" else nn.functional.softplus(self.log_var)
        return Weighted(weights.detach(), (weights * losses.float() + penalty).sum())

    def per_task(self) -> dict[str, Float[Tensor, " task"]]:
        return {"log_var": self.log_var.detach().clone()}
