"""Infarction stage: none, acute, subacute or old, from PTB-XL's columns `infarction_stadium1` and `2`."""

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from ecgmtl.data.split import Split
from ecgmtl.tasks.base import Targets
from ecgmtl.tasks.columns import ClassTask

SECOND = "infarction_stadium2"
"""Column of a second infarction's stage."""
CLASSES = {"Stadium I": 1, "Stadium I-II": 1, "Stadium II": 2, "Stadium II-III": 2, "Stadium III": 3}
"""Class by stage: acute, subacute, old. Class 0 is a record that states no infarction."""
N_CLASSES = 4


class InfarctionStadium(ClassTask):
    """Cross-entropy over four classes; a record of an infarction of unknown stage is left out.

    Two infarctions of different stages share the target equally.
    """

    part: ClassVar[str] = "infarction_stadium"
    column: ClassVar[str | None] = "infarction_stadium1"
    n_outputs: ClassVar[int] = N_CLASSES

    def encode(self, train: Split, validation: Split) -> Targets:
        first, second = (
            torch.from_numpy(stage_shares(self.values(split), split.columns.get(SECOND)))
            for split in (train, validation)
        )
        if not (first[:, 1:] > 0).any():  # where no record states a stage, empty cells do not mean that there is none
            return torch.full_like(first, torch.nan), torch.full_like(second, torch.nan)
        return first, second


def stage_shares(first: np.ndarray, second: np.ndarray | None) -> Float[np.ndarray, "record 4"]:
    """Return each class's share of a record's infarctions, from both columns; NaN where no stage is known."""
    rows = np.full((len(first), N_CLASSES), np.nan, dtype=np.float32)
    others = np.full(len(first), "", dtype=object) if second is None else second
    for row, cells in zip(rows, zip(first, others, strict=True), strict=True):
        classes = [CLASSES[cell] for cell in cells if cell in CLASSES]
        if classes:
            row[:] = np.bincount(classes, minlength=N_CLASSES) / len(classes)
        elif all(cell == "" for cell in cells):
            row[:] = np.arange(N_CLASSES) == 0
    return rows
