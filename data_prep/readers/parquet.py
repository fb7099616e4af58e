"""Parquet tables: a column for each lead, a row for each sample; `fs` and `unit` in the metadata, or of the options."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.leads import split_unit, standard_lead
from data_prep.readers.columns import find_columns, to_millivolts, to_record
from data_prep.readers.csv.times import check_times, is_time
from data_prep.readers.files import regular_size, require_sane_size
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError
from data_prep.units import parse_rate

NAME = "Parquet"
SUFFIXES: tuple[str, ...] = (".parquet",)
RATES = "fs", "sampling_rate"
"""Keys of the metadata that may hold the sampling rate in hertz."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is Parquet."""
    return head.startswith(b"PAR1")


def reason_not_ecg(path: Path, options: ReadOptions) -> str | None:
    """Return why a table is about something else: no column is a lead. Return None if one is, or it is damaged."""
    try:
        names = _open(path).schema_arrow.names
    except RecordError:
        return None
    if any(standard_lead(options.lead_of(name)) for name in names):
        return None
    return f"it is a table about something else: none of its {len(names)} columns is a lead"


def read(path: Path, options: ReadOptions) -> Record:
    """Return the record in a table, of which only the columns of leads and times are read.

    Raises:
        RecordError: the file is damaged, or a lead, unit or rate is missing or contradictory.
    """
    name, file = path.name, _open(path)
    facts = {key.decode("utf-8", "replace").lower(): value for key, value in (file.schema_arrow.metadata or {}).items()}
    fields = [field for field in file.schema_arrow if not is_time(field.name)]
    unit = facts.get("unit", b"").decode("utf-8", "replace") or None
    if unit is None and options.unit is None and not any(split_unit(field.name)[1] for field in fields):
        raise RecordError(f"{name} states no unit; write it into the metadata as `unit`, or pass --unit.")
    columns, remarks = find_columns(name, [field.name for field in fields], [unit] * len(fields), options)
    kept = [column for column in columns if standard_lead(options.lead_of(column.lead))]
    fs, n_samples = _rate(name, facts, options), file.metadata.num_rows
    require_sane_size(name, n_samples, len(kept))
    times = [field.name for field in file.schema_arrow if is_time(field.name)][:1]
    table = file.read(columns=[*times, *(fields[column.index].name for column in kept)])
    values = [_numbers(name, table.column(fields[column.index].name)) for column in kept]
    for time in times:
        check_times(name, time, _numbers(name, table.column(time)), fs)
    signal = to_millivolts(_in_order(values, kept, len(fields)), kept)[: options.samples_to_read(n_samples, fs)]
    return to_record(path.stem, signal, fs, kept, remarks, n_samples)


def _in_order(values: list[np.ndarray], columns: Any, n_fields: int) -> np.ndarray:
    """Return a table in which each column of `columns` has its own place."""
    table = np.full((len(values[0]), n_fields), np.nan)
    for column, each in zip(columns, values, strict=True):
        table[:, column.index] = each
    return table


def _open(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    regular_size(path)
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:  # its sentences may quote the file
        raise RecordError(f"{path.name} is not a valid Parquet file; it is damaged or cut off.") from error


def _rate(name: str, facts: dict[str, bytes], options: ReadOptions) -> float:
    stated = next((facts[key].decode("utf-8", "replace") for key in RATES if key in facts), None)
    rate = options.fs if stated is None else parse_rate(stated)
    if rate is None:
        reason = "no sampling rate" if stated is None else "a sampling rate that is not a number of hertz above 0"
        raise RecordError(f"{name} states {reason}; write it into the metadata as `fs`, or pass --fs.")
    return rate


def _numbers(name: str, column: Any) -> np.ndarray:
    kind = str(column.type)
    if not kind.startswith(("int", "uint", "float", "double", "halffloat")):
        raise RecordError(f"{name}: a column of a lead or of times holds values that are not numbers.")
    values = np.asarray(column.to_numpy(), np.float64)
    return np.where(np.isfinite(values), values, math.nan)
