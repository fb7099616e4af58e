"""A control: in place of each auxiliary gradient, noise of the same length."""

from typing import Literal

import torch
from jaxtyping import Float32
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import GradientRule, RuleSettings


class NoiseSettings(RuleSettings):
    kind: Literal["noise"] = "noise"

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Noise":
        return Noise(seed)


class Noise(GradientRule):
    r"""The step is :math:`g_{main} + \sum_i \|g_i\| \, u_i` with a random direction u for each auxiliary task.

    What helps the main task as much as its auxiliary one does so by disturbing it, not by what it tells. The heads
    learn their own tasks as ever. Where but one task has a gradient, the step is that.
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
