"""The interface of gradient rules, with solvers of the tasks' Gramian."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor, nn

from ecgmtl.settings import Settings

Array = np.ndarray[Any, np.dtype[np.float64]]

CHUNK = 1 << 14
"""Parameters that a CPU converts to float64 at a time: fresh memory for all would cost more than the arithmetic."""


class RuleSettings(Settings, ABC):
    """Settings of one gradient rule."""

    kind: str
    looks_at_encoder: ClassVar[bool] = True
    """Whether the rule needs each task's gradient in the parameters that the tasks share."""
    follows_shortest: ClassVar[bool] = False
    """Whether the step follows the shortest of the gradients, so that a task of small weight dominates it."""

    @abstractmethod
    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "GradientRule":
        """Build the rule for these tasks.

        Raises:
            ValueError: the settings do not fit the tasks.
        """


class GradientRule(nn.Module, ABC):
    """Rule that combines the tasks' gradients in their shared parameters into one.

    Each row is a task's gradient, already multiplied by its weight. No rule depends on the unit of the losses: rows a
    thousand times longer give a step a thousand times longer. The state that a resumed run needs lies in buffers of
    fixed shape, or in the extra state. Random samples depend on a seed and the step alone.
    """

    @abstractmethod
    def combine(self, rows: Float32[Tensor, "task parameter"], main: int, step: int) -> Float32[Tensor, " parameter"]:
        """Return the combined gradient. Where any row is not finite, it is nan throughout and no state changes.

        main: row of the main task.
        """


class GramianRule(GradientRule):
    r"""Rule whose step is :math:`\sum_i \alpha_i g_i`, with factors that depend on :math:`G_{ij} = g_i^T g_j` alone.

    A new rule implements `weights`. It need not handle Gramians that are not finite, nor a single task.
    """

    @torch.no_grad()
    def combine(self, rows: Float32[Tensor, "task parameter"], main: int, step: int) -> Float32[Tensor, " parameter"]:
        # float64: opposed gradients give a step far shorter than they are, which float32 would bury in rounding errors
        parts = rows.split(CHUNK if rows.device.type == "cpu" else max(1, rows.shape[1]), dim=1)
        gramian = torch.stack([wide @ wide.T for wide in (part.double() for part in parts)]).sum(dim=0)
        factors = self(gramian, main, step)
        return torch.cat([(factors @ part.double()).float() for part in parts])

    @torch.no_grad()
    def forward(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        r"""Return the factors :math:`\alpha`.

        A task without gradient is ignored and has the factor 1. With one task left, its factor is 1 as well. If the
        Gramian is not finite, all factors are nan, so that the caller can skip the step.
        """
        factors = self.weights(gramian, main, step)
        learns = gramian.diagonal() > 0
        factors = torch.where(learns & (learns.sum() > 1), factors, 1.0)
        return torch.where(gramian.isfinite().all(), factors, torch.nan)

    @abstractmethod
    def weights(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        r"""Return the factors :math:`\alpha` of tasks whose gradients are finite and not zero."""


def orders(n_tasks: int, seed: int, step: int) -> list[list[int]]:
    """Return for each task all others, in a random order that depends on the seed and the step alone."""
    generator = np.random.default_rng([seed, step])
    return [[int(j) for j in generator.permutation(n_tasks) if j != i] for i in range(n_tasks)]


def solve_on_host(gramian: Float64[Tensor, "task task"], solve: Callable[[Array], Array]) -> Float64[Tensor, " task"]:
    """Return the factors that `solve` finds for the tasks with a gradient, scaled so that the shortest has length 1.

    This synchronizes with an accelerator; a rule with a closed form does not need it.
    """
    table = gramian.cpu().numpy()
    factors = np.ones(len(table))
    learns = np.flatnonzero(table.diagonal() > 0)
    if len(learns) > 1 and np.isfinite(table).all():
        part = table[np.ix_(learns, learns)]
        factors[learns] = solve(part / part.diagonal().min())
    return torch.from_numpy(factors).to(gramian.device)


def nearest_to_zero(gramian: Array) -> Array:
    r"""Return nonnegative weights w of sum 1 of the shortest :math:`\sum_i w_i g_i`, exactly, by an active-set method.

    The least squares problem :math:`\min_{x \ge 0} \|\sum_i x_i g_i\|^2 + (\sum_i x_i - 1)^2` has its minimum at a
    multiple of w, because any other weights with the same sum make the first term larger.
    """
    from scipy.optimize import nnls  # predictions import this module, too, and do without SciPy

    norms = np.sqrt(gramian.diagonal().clip(min=0))
    units = np.where(norms > 0, norms, 1.0)
    values, vectors = np.linalg.eigh(gramian / np.outer(units, units))  # of the cosines: short rows stay exact
    factor = np.sqrt(values.clip(min=0))[:, None] * vectors.T * units
    solution, _ = nnls(np.vstack([factor, np.ones(len(gramian))]), np.append(np.zeros(len(gramian)), 1.0))
    weights: Array = solution / solution.sum()
    return weights
