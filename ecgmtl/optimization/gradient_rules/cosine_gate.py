"""Auxiliary gradients gated by their angle to the main one (Du et al., 2018, arXiv 1812.02224)."""

from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import GramianRule, RuleSettings


class CosineGateSettings(RuleSettings):
    """Settings of the cosine gate."""

    kind: Literal["cosine_gate"] = "cosine_gate"
    weighted: bool = True
    """Whether an auxiliary gradient is multiplied by its cosine; otherwise by 1 where the cosine is not negative."""

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "CosineGate":
        return CosineGate(self.weighted)


class CosineGate(GramianRule):
    r"""Rule with factor 1 for the main task and :math:`\max(0, \cos(g_m, g_k))` or :math:`[\cos \ge 0]` for others.

    It removes auxiliary gradients that oppose the main one. It does not ensure that the others help.
    """

    def __init__(self, weighted: bool = True) -> None:
        super().__init__()
        self.weighted = weighted

    def weights(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        norms = gramian.diagonal().sqrt()
        cosines = gramian[main] / (norms[main] * norms)
        factors = cosines.clamp(0.0, 1.0) if self.weighted else (cosines >= 0).to(gramian.dtype)
        factors[main] = 1.0
        return torch.where(norms[main] > 0, factors, 1.0)
