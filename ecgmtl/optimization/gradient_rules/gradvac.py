"""Gradient vaccine (Wang et al., ICLR 2021, arXiv 2010.05874, equations 2 and 3)."""

from typing import Literal

import torch
from jaxtyping import Float64
from pydantic import Field
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import GramianRule, RuleSettings, orders

LARGEST = 1 - 1e-6
"""Largest target cosine: to reach 1 a gradient would have to become infinitely long."""


class GradvacSettings(RuleSettings):
    """Settings of gradient vaccine."""

    kind: Literal["gradvac"] = "gradvac"
    beta: float = Field(1e-2, ge=0, le=1)
    """Fraction of the running mean cosine that one step replaces."""

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Gradvac":
        return Gradvac(len(tasks), self.beta, seed)


class Gradvac(GramianRule):
    r"""Rule that turns each gradient toward another one until their cosine reaches its running mean.

    Where :math:`\phi = \cos(g_i, g_j)` is below its running mean :math:`\hat\phi`, the gradient gets

    .. math:: g_j \frac{\|g_i\| (\hat\phi \sqrt{1 - \phi^2} - \phi \sqrt{1 - \hat\phi^2})}
              {\|g_j\| \sqrt{1 - \hat\phi^2}}

    added; then :math:`\hat\phi \leftarrow (1 - \beta) \hat\phi + \beta \phi`, from 0 at first: with β = 0 this is
    `pcgrad`. A step that is not finite, or a task without gradient, does not change the means.
    """

    target: Tensor

    def __init__(self, n_tasks: int, beta: float, seed: int = 0) -> None:
        super().__init__()
        self.beta, self.seed = beta, seed
        self.register_buffer("target", torch.zeros(n_tasks, n_tasks, dtype=torch.float64))

    def weights(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        norms = gramian.diagonal().sqrt()
        is_finite = gramian.isfinite().all()
        coefficients = torch.eye(len(gramian), dtype=gramian.dtype, device=gramian.device)
        for i, others in enumerate(orders(len(gramian), self.seed, step)):
            own = coefficients[i]
            for j in others:
                norm = (own @ gramian @ own).clamp(min=0).sqrt()
                cosine = (gramian[j] @ own / (norm * norms[j])).clamp(-1.0, 1.0)
                own[j] += torch.where(norms[j] > 0, norm / norms[j] * lift(cosine, self.target[i, j]), 0.0)
                renewed = torch.lerp(self.target[i, j], cosine, self.beta)
                self.target[i, j] = torch.where(is_finite & cosine.isfinite(), renewed, self.target[i, j])
        return coefficients.sum(dim=0)


def lift(cosine: Float64[Tensor, ""], target: Float64[Tensor, ""]) -> Float64[Tensor, ""]:
    """Return the factor of the unit vector j that raises a unit vector's cosine to it to the target; 0 if above it."""
    target = target.clamp(-LARGEST, LARGEST)
    needed = target * ((1 - cosine**2) / (1 - target**2)).sqrt() - cosine
    return torch.where(cosine < target, needed, 0.0)
