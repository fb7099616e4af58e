"""Options of the readers: facts that a file may lack, and how much of it is used."""

import math
from dataclasses import dataclass

from data_prep.leads import STANDARD_LEADS, split_unit, standard_lead
from data_prep.units import UNIT_NAMES, parse_unit

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
    """Names of the columns of files that name none; or, as `foo=V1`, the lead that a column of that name holds."""
    seconds: float | None = None
    """Seconds from the start that are used. Of a recording longer than WHOLE, no more than these are read."""
    follow_links: bool = False
    """Whether samples may lie behind a link out of the record's folder, as git-annex and DataLad keep them."""

    def __post_init__(self) -> None:
        if self.fs is not None and not (math.isfinite(self.fs) and self.fs > 0):
            raise ValueError(f"fs: {self.fs} is no sampling rate; it must be a number of hertz above 0.")
        if self.unit is not None:
            if (unit := parse_unit(self.unit)) is None:
                raise ValueError(f"unit: '{self.unit}' is not one of {UNIT_NAMES}.")
            object.__setattr__(self, "unit", unit)
        if self.leads is not None:
            _require_leads(self.leads)
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds: {self.seconds} is no duration; it must be a number of seconds above 0.")

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """Names of the columns of files that name none."""
        return None if self.leads is None or _is_map(self.leads) else self.leads

    def lead_of(self, column: str) -> str:
        """Return the name of the lead in a column: the one that the user gave it, or the column's own."""
        if self.leads is None or not _is_map(self.leads):
            return column
        leads = dict(_parse_map(self.leads))
        return leads.get(column.strip(), leads.get(split_unit(column)[0], column))

    def samples_to_read(self, n_samples: int, fs: float) -> int:
        """Return how many of a recording's `n_samples` a lead are read."""
        if self.seconds is None or n_samples <= WHOLE:
            return n_samples
        return min(n_samples, math.ceil(self.seconds * fs))


def _is_map(leads: tuple[str, ...]) -> bool:
    return any("=" in entry for entry in leads)


def _parse_map(leads: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return (column, lead) of each entry `column=lead`."""
    parts = [entry.rpartition("=") for entry in leads]
    return [(column.strip(), lead.strip()) for column, _, lead in parts]


def _require_leads(leads: tuple[str, ...]) -> None:
    if not all(leads or ("",)):
        raise ValueError("leads: a name is empty; name the columns in their order.")
    if not _is_map(leads):
        return
    for entry, (column, lead) in zip(leads, _parse_map(leads), strict=True):
        if not column:
            raise ValueError(f"leads: '{entry}' names no column; write each entry as foo=V1, or all as V1 alone.")
        if standard_lead(lead) is None:
            raise ValueError(f"leads: '{entry}' gives no standard lead; there are {', '.join(STANDARD_LEADS)}.")
