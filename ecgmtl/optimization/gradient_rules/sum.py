"""The plain sum of the weighted gradients, as one backward pass of the weighted sum of losses gives it."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from ecgmtl.optimization.gradient_rules.base import GramianRule, RuleSettings


class SumSettings(RuleSettings):
    """Settings of the sum, which has none."""

    looks_at_encoder: ClassVar[bool] = False
    kind: Literal["sum"] = "sum"

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Sum":
        return Sum()


class Sum(GramianRule):
    r"""Rule of :math:`\sum_i g_i`, whatever the angles between the gradients."""

    def combine(self, rows: Float32[Tensor, "task parameter"], main: int, step: int) -> Float32[Tensor, " parameter"]:
        finite = rows.isfinite().all()
        return torch.where(finite, rows.sum(dim=0), torch.nan)

    def weights(self, gramian: Float64[Tensor, "task task"], main: int, step: int) -> Float64[Tensor, " task"]:
        return torch.ones_like(gramian[0])
