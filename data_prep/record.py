"""One ECG, as read from disk."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float32

from data_prep.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_UNIT = "none"
"""Unit of values whose voltage scale is lost."""


class RecordError(UserError):
    """A file that cannot be used as an ECG record. The message says which file, what was found, and what would do."""


class Remark(NamedTuple):
    """Something that a user should know of a record, although it could be read."""

    code: str
    """Stable name for programs, as in docs/quality.md."""
    sentence: str


@dataclass(frozen=True)
class Record:
    """One ECG in millivolts: a row for each sample, a column for each lead."""

    name: str
    signal: Float32[np.ndarray, "time lead"]
    fs: float
    """Sampling rate, in hertz."""
    leads: tuple[str, ...]
    """Names of the leads as the file spells them, in the order of the columns."""
    remarks: tuple[Remark, ...] = ()
    """Remarks of the file's reader, which become findings."""
    calibrated: bool = True
    """Whether the values are voltages. Otherwise the file or the user states that only their shape was kept."""
    total_seconds: float | None = None
    """Duration of the recording where only its beginning was read; None where `signal` is all of it."""
    unit: str | None = "mV"
    """Unit in which the file's values were read; None where it differs between leads."""

    def __post_init__(self) -> None:
        if self.signal.shape[1] != len(self.leads):
            raise RecordError(
                f"{self.name}: the signal has {self.signal.shape[1]} columns, but {len(self.leads)} leads are named."
            )

    @property
    def seconds(self) -> float:
        """Duration of the recording, of which `signal` may be the beginning."""
        return len(self.signal) / self.fs if self.total_seconds is None else self.total_seconds

    def plot(self, start: float = 0.0, seconds: float = 10.0) -> "Figure":
        """Plot some seconds on clinical paper, 25 mm/s and 10 mm/mV, with the standard leads that the file has."""
        from data_prep.paper import plot_record  # matplotlib takes a second, which only plots need to take

        return plot_record(self, start, seconds)
