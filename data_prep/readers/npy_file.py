"""NumPy's .npy files: (time, lead), or (lead, time) where that is certain. The options give rate, unit and leads."""

import os
from pathlib import Path

import numpy as np

from data_prep.readers.columns import find_columns, to_millivolts, to_record
from data_prep.readers.files import regular_size
from data_prep.readers.npy import Header, read_header, read_rows
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError

NAME = "NumPy .npy"
SUFFIXES: tuple[str, ...] = (".npy",)
_REMEDY = "pass --fs, --unit and --leads with the names of the columns in their order"


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins so is an array of NumPy."""
    return head.startswith(b"\x93NUMPY")


def reason_not_ecg(path: Path, options: ReadOptions) -> str | None:
    """Return why an array is no ECG: its shape; or None if it may be one."""
    try:
        shape = _header(path).shape
    except (RecordError, OSError):
        return "it is no array of numbers"
    n_leads = (len(options.column_names),) if options.column_names else (8, 12)
    return None if len(shape) == 2 and {*shape} & {*n_leads} else f"it is an array of shape {shape}"


def _header(path: Path) -> Header:
    size = regular_size(path)
    with path.open("rb") as stream:
        return read_header(path.name, stream, size)


def read(path: Path, options: ReadOptions) -> Record:
    """Return the record in an array.

    Raises:
        RecordError: it is damaged, its shape does not fit the leads, or an option is missing.
    """
    name, header = path.name, _header(path)
    names = options.column_names
    if names is None or options.fs is None or options.unit is None:
        raise RecordError(f"{name} states neither sampling rate nor unit nor leads; {_REMEDY}.")
    if len(header.shape) != 2 or header.dtype.kind not in "iuf" or len(names) not in header.shape:
        found = f"{header.dtype} of shape {header.shape}"
        raise RecordError(f"{name} should be an array of numbers, (time, {len(names)} leads); found {found}.")
    is_turned = header.shape[1] != len(names)
    n_samples = header.shape[0 if not is_turned else 1]
    columns, remarks = find_columns(name, names, [None] * len(names), options)
    n_read = options.samples_to_read(n_samples, options.fs)
    with path.open("rb") as stream:
        stream.seek(header.n_bytes, os.SEEK_SET)
        pieces = list(read_rows(name, stream, header, header.shape[0] if is_turned else n_read))
    values = np.concatenate(pieces) if pieces else np.zeros(header.shape)
    signal = to_millivolts((values.T if is_turned else values)[:n_read], columns)
    return to_record(path.stem, signal, options.fs, columns, remarks, n_samples)
