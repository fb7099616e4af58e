"""Heart axis: left, normal or right, from PTB-XL's column `heart_axis`."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from ecgmtl.tasks.columns import ClassTask

CLASSES = {"LAD": 0, "ALAD": 0, "AXL": 0, "MID": 1, "RAD": 2, "ARAD": 2, "AXR": 2}
"""Class by code: left axis, normal axis, right axis. A sagittal axis (SAG, one in 4,000) is none of them."""
N_CLASSES = 3


class HeartAxis(ClassTask):
    """Cross-entropy over left, normal and right; records without a known axis are left out."""

    part: ClassVar[str] = "heart_axis"
    column: ClassVar[str | None] = "heart_axis"
    n_outputs: ClassVar[int] = N_CLASSES

    def targets(self, column: np.ndarray) -> Float[np.ndarray, "record target"]:
        classes = [CLASSES.get(str(code).strip()) for code in column]
        rows = np.full((len(classes), N_CLASSES), np.nan, dtype=np.float32)
        for row, index in zip(rows, classes, strict=True):
            if index is not None:
                row[:] = np.arange(N_CLASSES) == index
        return rows
