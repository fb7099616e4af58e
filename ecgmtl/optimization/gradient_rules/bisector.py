"""IMTL-G: a step with equal projections onto all gradients (Liu et al., ICLR 2021)."""

from typing import Literal

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import Array, GramianRule, RuleSettings, solve_on_host

DEPENDENT = 1e-12
"""Ratio to the largest eigenvalue of the tasks' cosines below which one counts as 0: those gradients are dependent."""


class BisectorSettings(RuleSettings):
    """Settings of the bisector, which has none."""

    kind: Literal["bisector"] = "bisector"

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Bisector":
        return Bisector()


class Bisector(GramianRule):
    r"""Rule with equal :math:`d^T g_i / \|g_i\|`: weights in proportion to :math:`G^+ \sqrt{\operatorname{diag} G}`.

    Their absolute values have the sum 1. For two tasks they are :math:`(\|g_2\|, \|g_1\|) / (\|g_1\| + \|g_2\|)`, and
    the direction is that of Nash-MTL, FairGrad with α = 1 and ConFIG. It ignores the tasks' weights altogether, except
    for a weight of 0, so this rule does not suit weights that decay.
    """

    def weights(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        if len(gramian) != 2:
            return solve_on_host(gramian, of_many)
        norms = gramian.diagonal().sqrt()
        return norms.flip(0) / norms.sum()


def of_many(gramian: Array) -> Array:
    """Return the weights of more than two tasks."""
    norms = np.sqrt(gramian.diagonal())
    cosines = gramian / np.outer(norms, norms)
    solution: Array = np.linalg.pinv(cosines, rcond=DEPENDENT, hermitian=True).sum(axis=1) / norms
    # not by the plain sum, as in IMTL-G: with more than two tasks it may be negative, and the step would ascend
    weights: Array = solution / np.abs(solution).sum()
    return weights
