"""NumPy's .npy files: (time, lead), or (lead, time) where that is certain. The options give rate, unit and leads.

An array of three axes is a stack of ECGs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from data_prep.readers.columns import find_columns, to_millivolts, to_record
from data_prep.readers.files import regular_size
from data_prep.readers.npy import Header, Stacked, read_header, read_rows
from data_prep.readers.options import ReadOptions
from data_prep.readers.stack import N_LEADS, Facts, Stack, find_lead_axis, read_single
from data_prep.record import Record, RecordError

NAME = "NumPy .npy"
SUFFIXES: tuple[str, ...] = (".npy",)
_REMEDY = "pass --fs, --unit and --leads with the names of the columns in their order"


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is an array of NumPy."""
    return head.startswith(b"\x93NUMPY")


def reason_not_ecg(path: Path, options: ReadOptions) -> str | None:
    """Return why an array is not an ECG: its shape; or None if it may be one, or many."""
    names = options.column_names
    try:
        regular_size(path)
        with path.open("rb") as stream:
            shape = read_header(path.name, stream, None).shape
    except (RecordError, OSError):
        return "it is not an array of numbers"
    if find_lead_axis(shape, names) is not None:
        return "it is the signals of a prepared folder" if is_of_prepared_folder(path) else None
    is_ecg = len(shape) == 2 and bool({*shape} & {*((len(names),) if names else N_LEADS)})
    return None if is_ecg else f"it is an array of shape {shape}"


def is_of_prepared_folder(path: Path) -> bool:
    """Return whether an array belongs to a folder that `ecgmtl data prepare` wrote."""
    return path.name == "signals.npy" and path.with_name("manifest.json").is_file()


def _header(path: Path) -> Header:
    size = regular_size(path)
    with path.open("rb") as stream:
        return read_header(path.name, stream, size)


@contextmanager
def open_stack(path: Path, options: ReadOptions) -> Iterator[Stack | None]:
    """Open an array of three axes that may hold ECGs. Yield None for any other."""
    header = _header(path)
    axis = find_lead_axis(header.shape, options.column_names)
    if axis is None or header.dtype.kind not in "iuf" or is_of_prepared_folder(path):
        yield None
        return
    with path.open("rb") as stream:
        yield Stack(path, Stacked(path.name, stream, header), axis, Facts())


def read(path: Path, options: ReadOptions) -> Record:
    """Return the record in an array.

    Raises:
        RecordError: it is damaged, its shape does not fit the leads, or an option is missing.
    """
    with open_stack(path, options) as stack:
        if stack is not None:
            return read_single(stack, options)
    name, header = path.name, _header(path)
    names = options.column_names
    if names is None or options.fs is None or options.unit is None:
        raise RecordError(f"{name} states neither sampling rate nor unit nor leads; {_REMEDY}.")
    if len(header.shape) != 2 or header.dtype.kind not in "iuf" or len(names) not in header.shape:
        actual = f"{header.dtype} of shape {header.shape}"
        raise RecordError(f"{name} should be an array of numbers, (time, {len(names)} leads); found {actual}.")
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
