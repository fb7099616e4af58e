"""Options of the readers: facts that a file may lack, and how much of it is read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_prep.leads import STANDARD_LEADS, split_unit, standard_lead
from data_prep.units import RATES, UNIT_NAMES, parse_unit

WHOLE = 2**18
"""Number of samples of a lead up to which a recording is always read to its end: 8 minutes at 500 Hz."""


@dataclass(frozen=True)
class ReadOptions:
    """Facts that a file may not state, or may state wrongly, and how much of a file is read."""

    fs: float | None = None
    """Sampling rate in hertz for files that state none, or one that no ECG has. Otherwise the file's own is used."""
    unit: str | None = None
    """Unit of the values, which replaces what the file states."""
    leads: tuple[str, ...] | None = None
    """Names of the columns for files that name none, or, as `foo=V1`, the lead that a column of that name holds."""
    seconds: float | None = None
    """Seconds from the start that are used. A recording longer than WHOLE is read no further."""
    follow_links: bool = False
    """Whether a link may lead to samples outside the record's folder, as in git-annex and DataLad."""

    def __post_init__(self) -> None:
        if self.fs is not None and not (math.isfinite(self.fs) and self.fs > 0):
            raise ValueError(f"fs: {self.fs} is not a sampling rate; it must be a number of hertz above 0.")
        if self.unit is not None:
            if (unit := parse_unit(self.unit)) is None:
                raise ValueError(f"unit: '{self.unit}' is not one of {UNIT_NAMES}.")
            object.__setattr__(self, "unit", unit)
        if self.leads is not None:
            _require_leads(self.leads)
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds: {self.seconds} is not a duration; it must be a number of seconds above 0.")

    @classmethod
    def of_text(
        cls, fs: float | None, unit: str | None, leads: str | None, follow_links: bool = False
    ) -> "ReadOptions":
        """Return the options with leads that are one text, as `I,II,III`.

        Raises:
            ValueError: a value is impossible.
        """
        names = None if leads is None else tuple(name.strip() for name in leads.split(","))
        return cls(fs=fs, unit=unit, leads=names, follow_links=follow_links)

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """Names of the columns for files that name none."""
        return None if self.leads is None or _is_map(self.leads) else self.leads

    def lead_of(self, column: str) -> str:
        """Return the name of the lead in a column: the user's, or else the column's own."""
        if self.leads is None or not _is_map(self.leads):
            return column
        leads = dict(_parse_map(self.leads))
        return leads.get(column.strip(), leads.get(split_unit(column)[0], column))

    def samples_to_read(self, n_samples: int, fs: float) -> int:
        """Return how many of the `n_samples` of each lead of a recording are read, whose file states the rate `fs`."""
        if self.seconds is None or n_samples <= WHOLE:
            return n_samples
        return min(n_samples, math.ceil(self.seconds * self.rate_of(fs)))

    def rate_of(self, fs: float) -> float:
        """Return the sampling rate of a file that states `fs`: the given one if no ECG has that."""
        return fs if self.fs is None or RATES[0] <= fs <= RATES[1] else self.fs


def as_typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return read options, given by name, under the names that they have on the command line."""
    return {f"--{name.replace('_', '-')}": value for name, value in options.items()}


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
            raise ValueError(f"leads: '{entry}' names no column; write every entry as foo=V1, or every entry as V1.")
        if standard_lead(lead) is None:
            raise ValueError(
                f"leads: '{entry}' does not name a standard lead; the leads are {', '.join(STANDARD_LEADS)}."
            )
