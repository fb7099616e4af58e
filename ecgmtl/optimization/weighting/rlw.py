"""Random loss weighting: a baseline that every weighting should beat (Lin et al., 2022)."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ecgmtl.optimization.weighting.base import MethodSettings, Moment, Weighted, Weighting


class RlwSettings(MethodSettings):
    """Settings of random loss weighting, which has none."""

    kind: Literal["rlw"] = "rlw"

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Rlw":
        return Rlw(len(tasks), seed)


class Rlw(Weighting):
    r"""Weights :math:`n\, \mathrm{softmax}(z)` for n tasks, with a new :math:`z \sim N(0, I)` at each step.

    The paper's weights add up to 1; n times that makes a fair comparison with equal weights under SGD.
    """

    def __init__(self, n_tasks: int, seed: int) -> None:
        super().__init__()
        self.n_tasks, self.seed = n_tasks, seed

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        sample = np.random.default_rng((self.seed, moment.step)).standard_normal(self.n_tasks, dtype=np.float32)
        logits = torch.from_numpy(sample).to(losses.device, non_blocking=True)
        return Weighted(self.n_tasks * torch.softmax(logits, dim=0))
