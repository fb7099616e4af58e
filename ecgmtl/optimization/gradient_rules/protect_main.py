"""One-sided projection: auxiliary gradients may help the main task, and never hinder it."""

from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import GramianRule, RuleSettings


class ProtectMainSettings(RuleSettings):
    kind: Literal["protect_main"] = "protect_main"

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "ProtectMain":
        return ProtectMain()


class ProtectMain(GramianRule):
    r"""Auxiliary gradients lose what points against the main one; the main gradient stays as it is.

    The factors are :math:`\alpha_m = 1 - \sum_k \min(G_{mk}, 0) / G_{mm}` and 1 for the others, so that
    :math:`d^T g_m \ge \|g_m\|^2`: to first order the main loss falls no less than it would alone. The step is
    continuous in the tasks' weights, and the main gradient alone where the others have the weight 0, so it goes
    with weights that decay.
    """

    def weights(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        against = gramian[main].clamp(max=0.0).sum()  # the main task's own entry is positive
        factors = torch.ones_like(gramian[main])
        factors[main] -= torch.where(gramian[main, main] > 0, against / gramian[main, main], 0.0)
        return factors
