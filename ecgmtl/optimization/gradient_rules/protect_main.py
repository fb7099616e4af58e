"""One-sided projection: auxiliary gradients may help the main task, but never oppose it."""

from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import GramianRule, RuleSettings


class ProtectMainSettings(RuleSettings):
    """Settings of the one-sided projection, which has none."""

    kind: Literal["protect_main"] = "protect_main"

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "ProtectMain":
        return ProtectMain()


class ProtectMain(GramianRule):
    r"""Rule that removes from auxiliary gradients what opposes the main one. The main gradient is not changed.

    The factors are :math:`\alpha_m = 1 - \sum_k \min(G_{mk}, 0) / G_{mm}` and 1 for the others, so that
    :math:`d^T g_m \ge \|g_m\|^2`: to first order the main loss falls no less than it would alone. The step is
    continuous in the tasks' weights, and equals the main gradient where the other weights are 0, so this rule suits
    weights that decay.
    """

    def weights(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        against = gramian[main].clamp(max=0.0).sum()  # the main task's own entry is positive
        factors = torch.ones_like(gramian[main])
        factors[main] -= torch.where(gramian[main, main] > 0, against / gramian[main, main], 0.0)
        return factors
