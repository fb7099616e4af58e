"""Age: a regression of the patient's age at the recording, in years."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from data_prep.units import OLDEST
from ecgmtl.tasks.base import LossInput
from ecgmtl.tasks.columns import ColumnTask

MEAN_YEARS, SD_YEARS = 60.0, 17.0
"""Mean and standard deviation of PTB-XL's training records, rounded, by which targets are standardized."""


class Age(ColumnTask):
    """Squared error of the standardized age; ages that are missing or over 120 years are left out."""

    part: ClassVar[str] = "age"
    column: ClassVar[str | None] = "age"

    def targets(self, column: np.ndarray) -> Float[np.ndarray, "record target"]:
        years = column.astype(np.float64)
        known = (years >= 0) & (years <= OLDEST)
        return np.where(known, (years - MEAN_YEARS) / SD_YEARS, np.nan).astype(np.float32)[:, None]

    def error(self, output: Float[Tensor, "present 1"], target: Float[Tensor, "present 1"]) -> Tensor:
        return (output - target).square()

    def measure(self, inputs: LossInput) -> dict[str, float]:
        output, target = self.output_and_target(inputs)
        return {"age_mae_years": SD_YEARS * float((output - target).abs().sum())}
