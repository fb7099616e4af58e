"""Columns of a table: the lead that each one holds, and its unit."""

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


@dataclass(frozen=True)
class Column:
    """A column that is read."""

    index: int
    lead: str
    unit: str


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
