"""A control that replaces each auxiliary gradient by noise of the same length."""

from typing import Literal

import torch
from jaxtyping import Float32
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import GradientRule, RuleSettings


class NoiseSettings(RuleSettings):
    """Settings of the noise control, which has none."""

    kind: Literal["noise"] = "noise"

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Noise":
        return Noise(seed)


class Noise(GradientRule):
    r"""Rule of :math:`g_{main} + \sum_i \|g_i\| \, u_i` with a random direction u for each auxiliary task.

    If noise helps the main task as much as an auxiliary task does, the latter helps by perturbation, not by
    information. The heads learn their own tasks as always. Where only one task has a gradient, the step is that one.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def combine(self, rows: Float32[Tensor, "task parameter"], main: int, step: int) -> Float32[Tensor, " parameter"]:
        generator = torch.Generator(rows.device).manual_seed(self.seed * 1_000_003 + step)
        norms = rows.norm(dim=1)
        disturbed = rows[main].clone()
        for norm in torch.cat([norms[:main], norms[main + 1 :]]):
            noise = torch.randn(rows.shape[1], generator=generator, device=rows.device)
            disturbed += noise.mul_(norm / noise.norm())
        meets = (norms > 0).sum() > 1
        return torch.where(norms.isfinite().all(), torch.where(meets, disturbed, rows.sum(dim=0)), torch.nan)
