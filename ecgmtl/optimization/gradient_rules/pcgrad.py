"""Projecting conflicting gradients (Yu et al., NeurIPS 2020, arXiv 2001.06782, algorithm 1)."""

from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import GramianRule, RuleSettings, orders


class PcgradSettings(RuleSettings):
    """Settings of PCGrad, which has none."""

    kind: Literal["pcgrad"] = "pcgrad"

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Pcgrad":
        return Pcgrad(seed)


class Pcgrad(GramianRule):
    r"""Rule that projects each gradient onto the normal plane of every conflicting one, in random order, and adds up.

    For two tasks with :math:`G_{12} < 0` the factors are :math:`1 - G_{12}/G_{11}` and :math:`1 - G_{12}/G_{22}`, else
    1. Whole gradients are projected, never single parameters. In conflict the weights of the tasks cancel out of the
    directions that are added, so a weight that falls to 0 does not fade its task out: `protect_main` does.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def weights(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        squares = gramian.diagonal()
        coefficients = torch.eye(len(gramian), dtype=gramian.dtype, device=gramian.device)
        for own, others in zip(coefficients, orders(len(gramian), self.seed, step), strict=True):
            for j in others:
                product = gramian[j] @ own
                own[j] -= torch.where((product < 0) & (squares[j] > 0), product / squares[j], 0.0)
        return coefficients.sum(dim=0)
