"""Tables of text: a column for each lead, a row for each sample, the names of the leads in the first row.

    # fs=500 unit=mV
    I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6
    -0.115,-0.05,0.065,...

Cells are separated by commas, semicolons, tabs, bars or spaces. A decimal comma is read where commas do not separate
cells. A second row may hold the units. `fs` and `unit` may come from ReadOptions instead; neither is guessed. A first
column of times states `fs` if its name has a unit, is checked against it, and is left out.
"""

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from data_prep.leads import split_unit, standard_lead
from data_prep.readers.columns import Column, find_columns, to_millivolts, to_record
from data_prep.readers.csv.beginning import read_beginning
from data_prep.readers.csv.facts import find_rate, find_unit
from data_prep.readers.csv.lines import Lines, decode_head, open_text
from data_prep.readers.csv.numbers import Table, find_decimal, find_separator, is_number, split_row
from data_prep.readers.csv.times import check_times, is_time, stated_rate
from data_prep.readers.files import MAX_VALUES, regular_size, require_sane_size
from data_prep.readers.options import WHOLE, ReadOptions
from data_prep.record import Record, RecordError
from data_prep.units import parse_unit

NAME = "CSV, TSV"
SUFFIXES: tuple[str, ...] = (".csv", ".tsv", ".txt")
MAX_COLUMNS = 1000
_ROWS = 2**16
"""Number of rows that are converted at a time."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is a table: at least two leads in its first row, numbers below."""
    lines = decode_head(head)
    if len(lines) < 2:
        return False
    separator = find_separator(lines[0])
    names = split_row(lines[0], separator)
    if sum(standard_lead(name) is not None for name in names) < 2:
        return False
    rows = [split_row(line, separator) for line in lines[1:3]]
    return any(len(row) == len(names) and all(not cell or is_number(cell) for cell in row) for row in rows)


def reason_not_ecg(path: Path, options: ReadOptions) -> str | None:
    """Return why a table cannot be an ECG, by its first lines. Return None if it may be one, or has another suffix."""
    return read_beginning(path).reason_not_ecg(options) if path.suffix.lower() in (".csv", ".tsv") else None


def read(path: Path, options: ReadOptions) -> Record:
    """Return the record in a table of text, which is read only as far as it is used."""
    if regular_size(path) > 20 * MAX_VALUES:
        raise RecordError(f"{path.name} is too long for one record; cut it first.")
    with open_text(path) as text:
        return _read(path, Lines(path.name, text), options)


def _read(path: Path, lines: Lines, options: ReadOptions) -> Record:
    name = path.name
    names, separator = _read_names(name, lines, options)
    units = _read_units(name, names, lines, separator, options)
    n_times = 1 if is_time(names[0]) and len(names) > 1 else 0
    columns, remarks = find_columns(name, names[n_times:], units[n_times:], options)
    fs = find_rate(name, lines.comments, options)
    first = list(islice(lines, _ROWS))
    if not first:
        raise RecordError(f"{name}: not a table of numbers, since no row follows the names.")
    table = Table(name, names, separator, find_decimal(name, first, separator))
    if fs is None and n_times:
        fs = stated_rate(names[0], table.read(first, 0)[:, 0])
    if fs is None:
        raise RecordError(f"{name} states no sampling rate; put '# fs=500' on its first line or pass --fs.")
    limit = None if options.seconds is None else max(WHOLE, math.ceil(options.seconds * fs))
    signal, times = _read_rows(table, first, lines, n_times, columns, limit)
    if n_times:
        check_times(name, names[0], times, fs)
    n_read = len(signal)
    total = n_read + (lines.count_rest(path) if lines.peek() else 0)
    return to_record(path.stem, signal[: options.samples_to_read(total, fs)], fs, columns, remarks, total)


def _read_names(name: str, lines: Lines, options: ReadOptions) -> tuple[list[str], str]:
    """Return the names of the columns and their separator. Rows of numbers are not consumed."""
    first = lines.peek()
    if first is None:
        raise RecordError(f"{name} is empty; its first row must name the leads, for example I,II,III,aVR,...")
    separator = lines.separator or find_separator(first)
    names = split_row(first, separator)
    if len(names) > MAX_COLUMNS:
        raise RecordError(f"{name} has {len(names)} columns; no ECG has more than {MAX_COLUMNS}.")
    if not all(map(is_number, names)):
        next(lines)
        return names, separator
    if lines.comments:  # as numpy.savetxt writes them
        commented = split_row(lines.comments[-1], separator)
        if len(commented) == len(names) and any(map(standard_lead, commented)):
            return commented, separator
    if options.column_names is None:
        raise RecordError(f"{name} names no leads; its first row must, for example I,II,III,aVR,..., or pass --leads.")
    return list(options.column_names), separator


def _read_units(
    name: str, names: Sequence[str], lines: Lines, separator: str, options: ReadOptions
) -> list[str | None]:
    """Return the unit that the table states for each column, in its comments or in a row below the names."""
    stated = find_unit(name, lines.comments, options)
    row = split_row(lines.peek() or "", separator)
    if len(row) == len(names) and _is_row_of_units(names, row, options):
        next(lines)
        if stated is not None and options.unit is None:
            unit = parse_unit(stated)
            others = {other for cell in row if (other := parse_unit(cell)) is not None and other != unit}
            if others:
                raise RecordError(
                    f"{name} states {unit or 'an unknown unit'}, but {' and '.join(sorted(others))} below the names."
                )
        return [cell or stated for cell in row]
    if stated is None and options.unit is None and not any(split_unit(column)[1] for column in names):
        raise RecordError(f"{name} states no unit; put '# unit=mV' on its first line or pass --unit.")
    return [stated] * len(names)


def _is_row_of_units(names: Sequence[str], row: Sequence[str], options: ReadOptions) -> bool:
    units = [parse_unit(cell) for name, cell in zip(names, row, strict=True) if standard_lead(options.lead_of(name))]
    return bool(units) and None not in units and not any(map(is_number, row))


def _read_rows(
    table: Table, first: list[str], lines: Lines, n_times: int, columns: Sequence[Column], limit: int | None
) -> tuple[Float32[np.ndarray, "time kept"], Float64[np.ndarray, " time"]]:
    """Return the values of up to `limit` rows in millivolts, and their first column.

    `first` are rows that were read already, and `n_times` columns stand before those of leads.
    """
    signals, times, rows, n_rows = [], [], first, 0
    while rows:
        rows = rows[: None if limit is None else limit - n_rows]
        values = table.read(rows, n_rows)
        signals.append(to_millivolts(values[:, n_times:], columns))
        times.append(values[:, 0].copy())
        n_rows += len(rows)
        require_sane_size(table.name, n_rows, len(columns))
        rows = list(islice(lines, _ROWS if limit is None else min(_ROWS, limit - n_rows)))
    return np.concatenate(signals), np.concatenate(times)
