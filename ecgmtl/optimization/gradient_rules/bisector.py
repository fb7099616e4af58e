"""The step that goes equally far along each gradient: IMTL-G (Liu et al., ICLR 2021)."""

from typing import Literal

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import Array, GramianRule, RuleSettings, solve_on_host

DEPENDENT = 1e-12
"""Eigenvalues of the tasks' cosines below this share of the largest are taken for 0: those gradients depend."""


class BisectorSettings(RuleSettings):
    kind: Literal["bisector"] = "bisector"

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Bisector":
        return Bisector()


class Bisector(GramianRule):
    r"""All :math:`d^T g_i / \|g_i\|` are equal: weights in proportion to :math:`G^+ \sqrt{\operatorname{diag} G}`.

    Their absolute values have the sum 1. For two tasks they are :math:`(\|g_2\|, \|g_1\|) / (\|g_1\| + \|g_2\|)`, and
    the direction is that of Nash-MTL, FairGrad with α = 1 and ConFIG. It ignores the tasks' weights altogether: only
    a task whose weight is 0 loses its say, so this rule does not go with weights that decay.
    """

    def weights(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        if len(gramian) != 2:
            return solve_on_host(gramian, of_many)
        norms = gramian.diagonal().sqrt()
        return norms.flip(0) / norms.sum()


def of_many(gramian: Array) -> Array:
    norms = np.sqrt(gramian.diagonal())
    cosines = gramian / np.outer(norms, norms)
    found: Array = np.linalg.pinv(cosines, rcond=DEPENDENT, hermitian=True).sum(axis=1) / norms
    # not by the plain sum, as IMTL-G: with more than two tasks it may be negative, and the step would climb
    weights: Array = found / np.abs(found).sum()
    return weights
