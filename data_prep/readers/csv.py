"""Tables of text: a column a lead, a row a sample, the leads' names in the first row.

    # fs=500 unit=mV
    I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6
    -0.115,-0.05,0.065,...

Commas, semicolons or tabs separate. `fs` and `unit` may come from ReadOptions instead; neither is ever guessed. A first
column of times is checked against `fs` and left out.
"""

import math
import re
from pathlib import Path
from typing import TextIO

import numpy as np
from jaxtyping import Float64

from data_prep.leads import split_unit
from data_prep.readers.columns import are_calibrated, find_columns, to_millivolts
from data_prep.readers.files import MAX_VALUES, regular_size, require_sane_size
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError
from data_prep.units import parse_rate

SUFFIXES: tuple[str, ...] = (".csv",)
_MAX_LINE = 2**16
_STATEMENT = re.compile(r"\b(fs|unit)\s*[=:]\s*([^\s,;]+)", re.IGNORECASE)
_TIMES = re.compile(
    r"(?P<name>times?|ts?|seconds|samples?|index|)(?:(?:^|[\s_]+|[\s_]*[(\[])(?P<unit>s|sec|ms|us)[)\]]?)?",
    re.IGNORECASE,
)
_A_SECOND = {"s": 1, "sec": 1, "seconds": 1, "ms": 1e3, "us": 1e6}


def read(path: Path, options: ReadOptions) -> Record:
    """The record in a table of text."""
    if regular_size(path) > 20 * MAX_VALUES:
        raise RecordError(f"{path.name} is too long for one record; cut it first.")
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as text:
        facts, first = _read_head(path.name, text)
        separator = next((mark for mark in "\t;," if mark in first), ",")
        names = [cell.strip().strip('"') for cell in first.strip().split(separator)]
        if all(map(_is_number, names)):
            if options.column_names is None:
                raise RecordError(f"{path.name} names no leads; its first row must, as I,II,III,aVR,...")
            names = list(options.column_names)
        else:
            first = ""
        values = _read_values(path.name, first, text, separator, len(names))
    fs = _fs(path.name, facts.get("fs"), options)
    if len(names) > 1 and (column := _TIMES.fullmatch(names[0])):
        _check_times(path.name, values[:, 0], fs, _steps(column["name"].lower(), (column["unit"] or "").lower(), fs))
        names, values = names[1:], values[:, 1:]
    unit = facts.get("unit")
    if unit is None and options.unit is None and not any(split_unit(name)[1] for name in names):
        raise RecordError(f"{path.name} states no unit; put '# unit=mV' on its first line or pass --unit.")
    columns, warnings = find_columns(path.name, names, [unit] * len(names), options)
    leads = tuple([column.lead for column in columns])
    return Record(path.stem, to_millivolts(values, columns), fs, leads, warnings, are_calibrated(columns))


def _read_head(name: str, text: TextIO) -> tuple[dict[str, str], str]:
    """What the comment lines at the top state, and the line after them."""
    facts: dict[str, str] = {}
    while line := text.readline(_MAX_LINE):
        if line.strip() and not line.startswith("#"):
            return facts, line
        facts.update({key.lower(): value for key, value in _STATEMENT.findall(line)})
    raise RecordError(f"{name} is empty; its first row must name the leads, as I,II,III,aVR,...")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_values(
    name: str, first: str, text: TextIO, separator: str, n_columns: int
) -> Float64[np.ndarray, "time column"]:
    import io

    import pandas as pd

    rows = io.StringIO(first + text.read())
    try:
        table = pd.read_csv(rows, sep=separator, header=None, comment="#", skipinitialspace=True, low_memory=False)
    except (ValueError, OverflowError) as error:  # pandas's parser errors are ValueErrors
        raise RecordError(f"{name}: no table of numbers ({str(error).strip()}).") from error
    if table.shape[1] != n_columns:
        raise RecordError(f"{name} has {table.shape[1]} columns of numbers for {n_columns} names.")
    require_sane_size(name, *table.shape)
    try:
        return table.to_numpy(np.float64)
    except (ValueError, TypeError) as error:
        raise RecordError(f"{name}: {error}; every cell must be a number with a decimal point.") from error


def _fs(name: str, stated: str | None, options: ReadOptions) -> float:
    if stated is None:
        if options.fs is None:
            raise RecordError(f"{name} states no sampling rate; put '# fs=500' on its first line or pass --fs.")
        return options.fs
    rate = parse_rate(stated)
    if rate is None:
        raise RecordError(f"{name} states a sampling rate of {stated!r}; it must be a number of hertz above 0.")
    return rate


def _steps(name: str, unit: str, fs: float) -> tuple[float, ...]:
    """By how much a column of this name may go on from sample to sample."""
    if a_second := _A_SECOND.get(unit or name):
        return (a_second / fs,)
    times = 1 / fs, 1e3 / fs, 1e6 / fs
    if name.startswith("t"):
        return times  # a step of 1 would be of ms at 1,000 Hz, or of samples
    return (1 / fs, 1.0) if name else (*times, 1.0)


def _check_times(name: str, times: Float64[np.ndarray, " time"], fs: float, steps: tuple[float, ...]) -> None:
    """Raise RecordError unless the times go on by one of these steps."""
    step = (times[-1] - times[0]) / max(len(times) - 1, 1)
    if len(times) > 1 and not any(math.isclose(step, allowed, rel_tol=0.01) for allowed in steps):
        raise RecordError(f"{name}: its times step by {step:g}, which does not fit the sampling rate of {fs:g} Hz.")
