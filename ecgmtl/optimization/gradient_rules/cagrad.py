"""Conflict-averse gradient descent (Liu et al., NeurIPS 2021, arXiv 2110.14048, algorithm 1)."""

from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64
from pydantic import NonNegativeFloat
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import Array, GramianRule, RuleSettings, nearest_to_zero, solve_on_host

RESOLUTION = 1e-7
"""Ratio to the longest gradient below which a sum of gradients is but rounding errors of their float32 values."""


class CagradSettings(RuleSettings):
    """Settings of conflict-averse gradient descent."""

    kind: Literal["cagrad"] = "cagrad"
    c: NonNegativeFloat = 0.4
    """Largest distance of the step from the mean gradient, in lengths of the latter; from 1 on the step may be 0."""

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Cagrad":
        return Cagrad(self.c)


class Cagrad(GramianRule):
    r"""Rule of the step that helps the worst-off task most, within :math:`c \|g_0\|` of the mean gradient g₀.

    It is :math:`g_0 + c \|g_0\| g_w / \|g_w\|` with :math:`g_w = \sum_i w_i g_i` and w, none negative and of sum 1,
    at the minimum of :math:`g_w^T g_0 + c \|g_0\| \|g_w\|`. With c = 0 it is the mean; for large c it points where
    `mgda` does. It is not divided by :math:`1 + c^2`, which the authors' program does and the paper does not.
    """

    def __init__(self, c: float = 0.4) -> None:
        super().__init__()
        self.c = c

    def weights(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        return of_two(gramian, self.c) if len(gramian) == 2 else solve_on_host(gramian, partial(of_many, c=self.c))


def of_two(gramian: Float64[Tensor, "task task"], c: float) -> Float64[Tensor, " task"]:
    r"""Return the factors of two tasks, by the closed form for :math:`g_w = \gamma g_1 + (1 - \gamma) g_2`.

    With :math:`A = \|g_1 - g_2\|^2`, :math:`u = A \gamma + G_{12} - G_{22}` and
    :math:`D = G_{11} G_{22} - G_{12}^2` the slope in γ is 0 where
    :math:`u / \sqrt{u^2 + D} = (G_{22} - G_{11}) / (2 c \|g_0\| \sqrt A)`; where that is beyond ±1, γ is 0 or 1.
    """
    first, second, product = gramian[0, 0], gramian[1, 1], gramian[0, 1]
    apart = (first + second - 2 * product).clamp(min=0)
    radius = c * (first + second + 2 * product).clamp(min=0).sqrt() / 2
    wanted = (second - first) / (2 * radius * apart.sqrt())
    inner = wanted * ((first * second - product**2).clamp(min=0) / (1 - wanted**2)).sqrt()
    share = ((inner + second - product) / apart).clamp(0.0, 1.0)
    share = torch.where(wanted.abs() < 1, share, (wanted > 0).to(gramian.dtype))
    share = torch.where((apart > 0) & (radius > 0), share, 0.5)
    mixed = torch.stack([share, 1 - share])
    length = (mixed @ gramian @ mixed).clamp(min=0).sqrt()
    opposed = length <= RESOLUTION * gramian.diagonal().max().sqrt()  # no step helps both
    return torch.where(opposed, 0.0, 0.5 + radius / length * mixed)


def of_many(gramian: Array, c: float) -> Array:
    r"""Return the factors of many tasks, by quadratic problems: :math:`\|g_w\| = \min_t (\|g_w\|^2 / t + t) / 2`.

    For a given t the weights are those of the point nearest to :math:`-t g_0 / (c \|g_0\|)`, and at the solution t is
    :math:`\|g_w\|`, which a one-dimensional search finds.
    """
    from scipy.optimize import brentq

    products = gramian.mean(axis=1)  # of each gradient with the mean gradient
    square = max(float(products.mean()), 0.0)
    radius = c * np.sqrt(square)
    if radius == 0:
        return np.full(len(gramian), 1 / len(gramian))

    def weights(t: float) -> Array:
        shift = t / radius
        return nearest_to_zero(gramian + shift * (products[:, None] + products) + shift**2 * square)

    def too_long(t: float) -> float:
        mixed = weights(t)
        return float(np.sqrt(max(float(mixed @ gramian @ mixed), 0.0))) - t

    longest = float(np.sqrt(gramian.diagonal().max()))
    if too_long(RESOLUTION * longest) <= 0:
        return np.zeros(len(gramian))
    length = brentq(too_long, RESOLUTION * longest, 2 * longest, xtol=1e-14 * longest)
    return 1 / len(gramian) + radius / length * weights(length)
