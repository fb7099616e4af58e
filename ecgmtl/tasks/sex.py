"""Sex: the patient's sex as PTB-XL codes it, 0 for male and 1 for female."""

import math
from typing import ClassVar

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ecgmtl.tasks.base import Likelihood, LossInput
from ecgmtl.tasks.columns import ColumnTask


class Sex(ColumnTask):
    """Binary cross-entropy; records whose sex is neither 0 nor 1 are left out."""

    part: ClassVar[str] = "sex"
    likelihood: ClassVar[Likelihood] = "bernoulli"
    column: ClassVar[str | None] = "sex"

    def targets(self, column: np.ndarray) -> Float[np.ndarray, "record target"]:
        code = column.astype(np.float64)
        return np.where((code == 0) | (code == 1), code, np.nan).astype(np.float32)[:, None]

    def error(self, output: Float[Tensor, "present 1"], target: Float[Tensor, "present 1"]) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, target, reduction="none")

    def untrained(self, batch_size: int) -> float:  # noqa: ARG002
        """Return log 2: the head starts without a preference, and either sex is about as common."""
        return math.log(2)

    def measure(self, inputs: LossInput) -> dict[str, float]:
        output, target = self.output_and_target(inputs)
        return {"sex_accuracy": float(((output > 0) == (target > 0.5)).sum())}
