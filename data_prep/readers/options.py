"""Options of the readers: facts that a file may lack, and how much of it is used."""

import math
from dataclasses import dataclass

from data_prep.record import NO_UNIT

UNITS = {
    **dict.fromkeys(("nV", "nv"), 1e-6),
    **dict.fromkeys(("uV", "uv", "\u00b5V", "\u00b5v", "\u03bcV", "\u03bcv"), 1e-3),  # micro sign and Greek mu
    **dict.fromkeys(("mV", "mv"), 1.0),
    **dict.fromkeys(("V", "v"), 1e3),
    NO_UNIT: 1.0,
}
"""Millivolts in one of each unit."""
UNIT_NAMES = f"nV, uV, mV, V, or {NO_UNIT} where the voltage was lost"
WHOLE = 2**18
"""Samples of a lead up to which a recording is always read to its end: 8 minutes at 500 Hz."""


@dataclass(frozen=True)
class ReadOptions:
    """Facts that a file may not state, or may state wrongly, and how much of a file is read."""

    fs: float | None = None
    """Sampling rate in hertz of files that state none; a file's own statement is kept."""
    unit: str | None = None
    """Unit of the values, whatever the file says."""
    leads: tuple[str, ...] | None = None
    """Names of the columns of files that name none."""
    seconds: float | None = None
    """Seconds from the start that are used. Of a recording longer than WHOLE, no more than these are read."""
    follow_links: bool = False
    """Whether samples may lie behind a link out of the record's folder, as git-annex and DataLad keep them."""

    def __post_init__(self) -> None:
        if self.fs is not None and not (math.isfinite(self.fs) and self.fs > 0):
            raise ValueError(f"fs: {self.fs} is no sampling rate; it must be a number of hertz above 0.")
        if self.unit is not None and self.unit not in UNITS:
            raise ValueError(f"unit: '{self.unit}' is not one of {UNIT_NAMES}.")
        if self.leads is not None and not all(self.leads or ("",)):
            raise ValueError("leads: a name is empty; name the columns in their order.")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds: {self.seconds} is no duration; it must be a number of seconds above 0.")

    def samples_to_read(self, n_samples: int, fs: float) -> int:
        """Return how many of a recording's `n_samples` a lead are read."""
        if self.seconds is None or n_samples <= WHOLE:
            return n_samples
        return min(n_samples, math.ceil(self.seconds * fs))
