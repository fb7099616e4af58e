"""The shortest convex combination of the gradients (Désidéri, 2012; Sener and Koltun, NeurIPS 2018)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import GramianRule, RuleSettings, nearest_to_zero, solve_on_host


class MgdaSettings(RuleSettings):
    """Settings of MGDA, which has none."""

    follows_shortest: ClassVar[bool] = True
    kind: Literal["mgda"] = "mgda"

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Mgda":
        return Mgda()


class Mgda(GramianRule):
    r"""Rule of :math:`\arg\min_{w \ge 0, \sum w = 1} \|\sum_i w_i g_i\|^2`: no task's loss rises, to first order.

    For two tasks :math:`w_1 = (G_{22} - G_{12}) / (G_{11} + G_{22} - 2 G_{12})`, clipped to [0, 1]. The step follows
    the shortest gradient: a task of small weight dominates it, so this rule does not suit weights that decay.
    """

    def weights(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        if len(gramian) != 2:
            return solve_on_host(gramian, nearest_to_zero)
        first, second, product = gramian[0, 0], gramian[1, 1], gramian[0, 1]
        apart = first + second - 2 * product
        share = torch.where(apart > 0, (second - product) / apart, 0.5).clamp(0.0, 1.0)
        return torch.stack([share, 1 - share])
