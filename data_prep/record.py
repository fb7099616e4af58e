"""One ECG, as read from disk."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from data_prep.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RecordError(UserError):
    """A file that cannot be used as an ECG record. The message says which file, what was found, and how to fix it."""


class Remark(NamedTuple):
    """Something that a user should know of a record, although it could be read."""

    code: str
    """Stable name for programs, as in docs/quality.md."""
    sentence: str


@runtime_checkable
class Recording(Protocol):
    """An ECG of which parts can be had, whether it lies in memory or not."""

    @property
    def name(self) -> str: ...

    @property
    def fs(self) -> float:
        """Sampling rate, in hertz."""

    @property
    def leads(self) -> tuple[str, ...]: ...

    @property
    def calibrated(self) -> bool:
        """Whether the values are voltages."""

    @property
    def n_samples(self) -> int:
        """Number of samples of each lead."""

    @property
    def seconds(self) -> float:
        """Duration."""

    def part(self, start: int, stop: int) -> "Record":
        """Return the samples from `start` to before `stop`."""

    def parts(self) -> "Iterator[Record]":
        """Yield all of it, in parts that memory has room for."""


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

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self.leads)} leads, {self.seconds:.4g} s at {self.fs:g} Hz>"

    @property
    def seconds(self) -> float:
        """Duration of the recording, of which `signal` may be the beginning."""
        return len(self.signal) / self.fs if self.total_seconds is None else self.total_seconds

    @property
    def n_samples(self) -> int:
        """Number of samples of each lead in `signal`."""
        return len(self.signal)

    def part(self, start: int, stop: int) -> "Record":
        """Return the samples from `start` to before `stop`."""
        return replace(self, signal=self.signal[start:stop], total_seconds=self.seconds)

    def parts(self) -> "Iterator[Record]":
        """Yield the record itself, since memory holds it already."""
        yield self

    def plot(self, start: float = 0.0, seconds: float = 10.0) -> "Figure":
        """Plot some seconds on clinical paper, 25 mm/s and 10 mm/mV, with the standard leads that the file has."""
        from data_prep.paper import plot_record  # matplotlib takes a second, which only plots need to take

        return plot_record(self, start, seconds)
