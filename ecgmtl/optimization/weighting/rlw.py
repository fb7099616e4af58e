"""Random loss weighting: the litmus test that a method which claims to weigh well should pass (Lin et al., 2022)."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ecgmtl.optimization.weighting.base import MethodSettings, Moment, Weighted, Weighting


class RlwSettings(MethodSettings):
    kind: Literal["rlw"] = "rlw"

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Rlw":
        return Rlw(len(tasks), seed)


class Rlw(Weighting):
    r"""The weights are :math:`n\, \mathrm{softmax}(z)` with :math:`z \sim N(0, I)` anew each step, n tasks.

    The paper's add up to 1; n times that, as here, makes a fair comparison with equal weights under SGD.
    """

    def __init__(self, n_tasks: int, seed: int) -> None:
        super().__init__()
        self.n_tasks, self.seed = n_tasks, seed

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        drawn = np.random.default_rng((self.seed, moment.step)).standard_normal(self.n_tasks, dtype=np.float32)
        return Weighted(
            self.n_tasks * torch.softmax(torch.from_numpy(drawn).to(losses.device, non_blocking=True), dim=0)
        )
