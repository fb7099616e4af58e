"""Columns of a table: the lead that each one holds, and its unit."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped

from data_prep.leads import describe_lead, split_unit, standard_lead
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError, Remark
from data_prep.units import NO_UNIT, UNIT_NAMES, UNITS, parse_unit

STATE_RATE = frozenset({"fs", "samplingrate", "samplerate", "samplingfrequency", "freq", "frequency"})
STATE_UNIT = frozenset({"unit", "units"})
STATE_LEADS = frozenset({"leads", "lead", "leadnames", "channels", "channelnames", "labels", "signames"})
"""Names of variables and attributes, in lower case and without underscores, that state facts."""
MAX_FACT = 2**16
"""Largest one in bytes."""
LAST_OF_ECG = {"C": 9, "D": 3}
"""Highest number that an ECG has after each letter: C1 to C9 are V1 to V9, D1 to D3 are I to III."""
_NUMBERED = re.compile(r"(?P<letter>[CD])(?P<number>\d{1,3})", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """A column that is read."""

    index: int
    lead: str
    unit: str


def name_columns(names: Sequence[str], options: ReadOptions) -> list[str]:
    """Return the names of columns: the file's own, or else the user's, where no column is named as a lead."""
    own = options.column_names
    is_named = any(standard_lead(options.lead_of(name)) for name in names)
    return list(own) if own is not None and len(own) == len(names) and not is_named else list(names)


def find_columns(
    source: str,
    names: Sequence[str],
    units: Sequence[str | None],
    options: ReadOptions,
) -> tuple[tuple[Column, ...], tuple[Remark, ...]]:
    """Return the columns whose unit is known, and a remark on each column that is left out.

    `units` are the units that the file states outside the names, one for each column.

    Raises:
        RecordError: none is a standard lead, or the unit of a lead is unknown, unreadable or contradictory.
    """
    leads = [options.lead_of(name) for name in names]
    refuse_electrodes(source, leads)
    if not any(map(standard_lead, leads)):
        raise RecordError(
            f"{source}: none of its {len(names)} columns has the name of a lead (I, II, III, aVR, ..., V6). "
            f"Pass --leads foo=V1,... if a column named foo is lead V1."
        )
    columns, others = [], list[int]()
    for index, (name, lead, stated) in enumerate(zip(names, leads, units, strict=True)):
        is_lead = standard_lead(lead) is not None
        label = describe_lead(lead, index + 1)
        unit = unit_of(f"{source}: {label}", name, stated, options) if is_lead else _unit_or_none(name, stated)
        if unit is not None:
            columns.append(Column(index, lead, unit))
        elif is_lead:
            raise RecordError(f"{source} states no unit for {label}; pass --unit.")
        else:
            others.append(index + 1)
    return tuple(columns), tuple(
        Remark("column-left-out", f"column {number} is not in a known unit of voltage and is left out.")
        for number in others
    )


def find_leads(source: str, names: Sequence[str], options: ReadOptions) -> list[int]:
    """Return the places of names that are leads, or of all names if none is, so that `find_columns` says what to do.

    Raises:
        RecordError: names are those of an electroencephalogram's electrodes.
    """
    leads = [options.lead_of(name) for name in names]
    refuse_electrodes(source, leads)
    return [index for index, lead in enumerate(leads) if standard_lead(lead)] or list(range(len(names)))


def refuse_electrodes(source: str, leads: Sequence[str]) -> None:
    """Raise RecordError if leads are numbered like the electrodes of an electroencephalogram, as C1 to C32."""
    channels = [match for lead in leads if (match := _NUMBERED.fullmatch(split_unit(lead)[0]))]
    for letter, last in LAST_OF_ECG.items():
        numbers = sorted(int(match["number"]) for match in channels if match["letter"].upper() == letter)
        if numbers and numbers[0] <= last < numbers[-1]:
            raise RecordError(
                f"{source} has channels {letter}{numbers[0]} to {letter}{numbers[-1]}, as an electroencephalogram has. "
                f"If it is an ECG, pass --leads {letter}{numbers[0]}=V1,... with the leads of all of these channels."
            )


def unit_of(column: str, name: str, stated: str | None, options: ReadOptions) -> str | None:
    """Return the unit of the values under a lead's name, or None where none is stated.

    Error messages begin with `column`. They quote neither the name nor the stated unit.

    Raises:
        RecordError: the file states an unknown unit, or a different one than the name does.
    """
    if options.unit is not None:
        return options.unit
    own = split_unit(name)[1]
    unit = None if stated is None else parse_unit(stated)
    if stated is not None and unit is None:
        raise RecordError(f"{column} has a stated unit that is not one of {UNIT_NAMES}; pass --unit.")
    if own is not None and unit is not None and own != unit:
        raise RecordError(
            f"{column} is in {own} by its name, but the file states {unit}; pass --unit to say which one is right."
        )
    return own or unit


def _unit_or_none(name: str, stated: str | None) -> str | None:
    return split_unit(name)[1] or (None if stated is None else parse_unit(stated))


def missing_facts(name: str, n_leads: int, leads: bool, fs: bool, unit: bool) -> str:
    """Return a sentence that says which facts a file lacks, and the options that state them."""
    lacking = {
        "sampling rate (pass --fs)": fs,
        "unit (pass --unit)": unit,
        f"names of leads (pass --leads with {n_leads} names in their order)": leads,
    }
    return f"{name} does not state: {', '.join(fact for fact, is_lacking in lacking.items() if is_lacking)}."


def to_millivolts(
    values: Shaped[np.ndarray, "time column"], columns: Sequence[Column]
) -> Float32[np.ndarray, "time kept"]:
    """Return the kept columns in millivolts."""
    scale = np.array([UNITS[column.unit] for column in columns])
    with np.errstate(over="ignore", invalid="ignore"):  # Preprocess refuses what becomes infinite or is not a number
        return (values[:, [column.index for column in columns]] * scale).astype(np.float32)


def to_record(
    name: str,
    signal: Float32[np.ndarray, "time kept"],
    fs: float,
    columns: Sequence[Column],
    remarks: tuple[Remark, ...],
    n_samples: int,
) -> Record:
    """Return the record of the kept columns, in millivolts. `signal` may be the beginning of `n_samples` samples."""
    units = {column.unit for column in columns}
    return Record(
        name,
        signal,
        fs,
        tuple([column.lead for column in columns]),
        remarks,
        calibrated=NO_UNIT not in units,
        total_seconds=n_samples / fs if len(signal) < n_samples else None,
        unit=units.pop() if len(units) == 1 else None,
    )
