"""NumPy archives: `signal` (time, lead), `fs` in hertz, `leads`, and optionally `unit` (mV by default).

An array of three axes, whatever its name, is a stack of ECGs.
"""

import math
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np

from data_prep.leads import split_unit
from data_prep.readers.columns import find_columns, to_millivolts, to_record
from data_prep.readers.files import regular_size
from data_prep.readers.npy import (
    BLOCK,
    MAX_TEXT,
    STACKED,
    Header,
    Stacked,
    read_fact,
    read_header,
    read_rows,
    to_texts,
)
from data_prep.readers.options import ReadOptions
from data_prep.readers.stack import (
    MAX_IDS,
    Facts,
    Stack,
    find_lead_axis,
    first_ids,
    is_ids,
    read_single,
)
from data_prep.record import Record, RecordError, Remark
from data_prep.units import parse_rate

NAME = "NumPy .npz"
SUFFIXES: tuple[str, ...] = (".npz",)
MAX_MEMBERS = 4096
"""Largest number of members among which a stack of ECGs is looked for."""
EVALUATION = frozenset({"label_names.npy", "probabilities.npy"})
"""Members by which the arrays of an evaluation are known."""
NO_CHECKSUM = Remark("unverified", "only its beginning was read, so the archive's checksum was not compared.")
_FORM = "np.savez(path, signal=<time x lead, mV>, fs=500, leads=['I', 'II', ...])"


class Member:
    """A file in an archive, which is read from its beginning to its end, so that its checksum is compared.

    From Python 3.12 on, seeking in the archive's own stream gives the checksum up. Before 3.12.9 and 3.13.2, it also
    leads to a wrong place if another member was read in between (https://github.com/python/cpython/issues/127847).
    """

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._open = partial(archive.open, name)
        self._stream = self._open()
        self._place = 0

    def __enter__(self) -> "Member":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, size: int, /) -> bytes:
        content = self._stream.read(size)
        self._place += len(content)
        return content

    def seek(self, offset: int, /) -> int:
        """Read on to a place, from the beginning if it lies behind."""
        if offset < self._place:
            self._stream.close()
            self._stream, self._place = self._open(), 0
        while self._place < offset and self.read(min(BLOCK, offset - self._place)):
            pass
        return self._place


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is an archive whose first member is an array."""
    return head[:4] == b"PK\x03\x04" and b".npy" in head[30 : 30 + int.from_bytes(head[26:28], "little")]


def reason_not_ecg(path: Path, options: ReadOptions) -> str | None:  # noqa: ARG001, a format's function
    """Return why an archive is no ECG: it is an evaluation; or None if it may be one."""
    if path.suffix.lower() not in SUFFIXES:
        return None
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with zipfile.ZipFile(path) as archive:
            is_evaluation = EVALUATION.issubset(archive.namelist())
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return None
    return "it holds predictions or an evaluation of ecgmtl" if is_evaluation else None


def read(path: Path, options: ReadOptions) -> Record:
    """Return the record in an archive. Nothing in it is unpickled, and only what is used is unpacked."""
    with _opened(path) as archive:
        with _stack_in(path, archive, options) as stack:
            if stack is not None:
                return read_single(stack, options)
        return _read(path, archive, options)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    regular_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: encrypted
        raise RecordError(
            f"{path.name} is not a readable .npz archive: it is damaged, cut off or encrypted; write it with {_FORM}."
        ) from error


@contextmanager
def open_stack(path: Path, options: ReadOptions) -> Iterator[Stack | None]:
    """Open the one array of three axes that may hold ECGs: `signal`, or any other. Yield None if there is none.

    Raises:
        RecordError: there are several, or what is stated beside it is unreadable.
    """
    with _opened(path) as archive, _stack_in(path, archive, options) as stack:
        yield stack


@contextmanager
def _stack_in(path: Path, archive: zipfile.ZipFile, options: ReadOptions) -> Iterator[Stack | None]:
    name, headers = path.name, _of_three_axes(path.name, archive)
    leads = _stated_leads(name, archive) if headers else None
    axes = {key: find_lead_axis(header.shape, leads or options.column_names) for key, header in headers.items()}
    keys = [key for key, axis in axes.items() if axis is not None]
    if len(keys) > 1:
        shapes = ", ".join(" x ".join(map(str, headers[key].shape)) for key in keys)
        raise RecordError(f"{name} holds {len(keys)} arrays of ECGs ({shapes}); save each in a file of its own.")
    if not keys:
        yield None
        return
    (key,) = keys
    with Member(archive, f"{key}.npy") as stream:
        values = Stacked(name, stream, headers[key])
        stack = Stack(path, values, axes[key] or 0, _facts(name, archive, leads))
        stack.ids, stack.remarks = _ids(name, archive, len(stack))
        yield stack


def _of_three_axes(name: str, archive: zipfile.ZipFile) -> dict[str, Header]:
    """Return the headers of the arrays of three axes by their keys. Where there is a `signal`, it is the only one."""
    entries = [archive.NameToInfo["signal.npy"]] if "signal.npy" in archive.NameToInfo else archive.infolist()
    headers = {}
    for entry in entries[:MAX_MEMBERS]:
        if entry.filename.endswith(".npy"):
            with suppress(RecordError), archive.open(entry) as stream:
                header = read_header(name, stream, entry.file_size)
                if len(header.shape) == STACKED and header.dtype.kind in "iuf":
                    headers[entry.filename.removesuffix(".npy")] = header
    return headers


def _stated_leads(name: str, archive: zipfile.ZipFile) -> tuple[str, ...] | None:
    stated = _fact(name, archive, "leads")
    return None if stated is None else tuple(to_texts(f"{name}: 'leads'", stated))


def _facts(name: str, archive: zipfile.ZipFile, leads: tuple[str, ...] | None) -> Facts:
    fs, unit = _fact(name, archive, "fs"), _fact(name, archive, "unit")
    units = () if unit is None else tuple(to_texts(f"{name}: 'unit'", unit))
    return Facts(None if fs is None else _fs(name, fs, ReadOptions()), units, leads)


def _ids(name: str, archive: zipfile.ZipFile, n_records: int) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the id of each ECG, or a remark why they cannot be read; neither where there are none."""
    keys = (entry.filename.removesuffix(".npy") for entry in archive.infolist())
    return first_ids((partial(_fact, name, archive, key, MAX_IDS) for key in keys if is_ids(key)), n_records)


def _read(path: Path, archive: zipfile.ZipFile, options: ReadOptions) -> Record:
    name = path.name
    facts = {key: fact for key in ("fs", "leads", "unit") if (fact := _fact(name, archive, key)) is not None}
    if "signal.npy" not in archive.NameToInfo:
        raise RecordError(f"{name}: 'signal' must be an array of numbers, (time, lead); found none.")
    with Member(archive, "signal.npy") as stream:
        header = read_header(_source(name, "signal"), stream, archive.getinfo("signal.npy").file_size)
        leads = _leads(name, header, facts.get("leads"), options)
        stated = _units(name, header, leads, facts.get("unit"), options)
        columns, remarks = find_columns(name, leads, stated, options)
        fs = _fs(name, facts.get("fs"), options)
        n_samples = header.shape[0]
        n_read = options.samples_to_read(n_samples, fs)
        signal = np.empty((n_read, len(columns)), np.float32)
        first = 0
        for rows in read_rows(_source(name, "signal"), stream, header, n_read):
            signal[first : first + len(rows)] = to_millivolts(rows, columns)
            first += len(rows)
    if n_read < n_samples:
        remarks = (*remarks, NO_CHECKSUM)
    return to_record(path.stem, signal, fs, columns, remarks, n_samples)


def _source(name: str, key: str) -> str:
    return f"{name} is not a readable .npz archive: {key}.npy"


def _fact(name: str, archive: zipfile.ZipFile, key: str, at_most: int = MAX_TEXT) -> np.ndarray | None:
    if f"{key}.npy" not in archive.NameToInfo:
        return None
    entry = archive.getinfo(f"{key}.npy")
    with archive.open(entry) as stream:
        return read_fact(_source(name, key), stream, entry.file_size, at_most)


def _leads(name: str, header: Header, stated: np.ndarray | None, options: ReadOptions) -> tuple[str, ...]:
    """Return the names of the columns, if the header can be that of a signal."""
    if len(header.shape) != 2 or header.dtype.kind not in "iuf":
        actual = f"{header.dtype} of shape {header.shape}"
        raise RecordError(f"{name}: 'signal' must be an array of numbers, (time, lead); found {actual}.")
    leads = options.column_names if stated is None else tuple(to_texts(f"{name}: 'leads'", stated))
    if leads is None:
        raise RecordError(f"{name} names no leads; write it with {_FORM}.")
    if header.shape[1] != len(leads):
        turned = " It seems to be transposed: save signal.T." if header.shape[0] == len(leads) else ""
        raise RecordError(f"{name}: 'signal' has {header.shape[1]} columns for {len(leads)} leads.{turned}")
    return leads


def _units(
    name: str, header: Header, leads: tuple[str, ...], stated: np.ndarray | None, options: ReadOptions
) -> list[str | None]:
    """Return the unit of each column that the archive states outside the leads' names."""
    if stated is not None:
        units = to_texts(f"{name}: 'unit'", stated)
        if len(units) not in (1, len(leads)):
            raise RecordError(f"{name}: 'unit' has {len(units)} entries for {len(leads)} leads; save one.")
        return [*units] * (len(leads) // len(units))
    if options.unit is None and not any(split_unit(lead)[1] for lead in leads):
        if header.dtype.kind != "f":
            raise RecordError(f"{name}: whole numbers need a unit; save unit='uV' with them or pass --unit.")
        return ["mV"] * len(leads)
    return [None] * len(leads)


def _fs(name: str, stated: np.ndarray | None, options: ReadOptions) -> float:
    if stated is None:
        if options.fs is None:
            raise RecordError(f"{name} states no sampling rate; save fs=500 with it or pass --fs.")
        return options.fs
    rate, actual = None, f"{stated.dtype} of shape {stated.shape}"
    if stated.size == 1 and stated.dtype.kind in "US":
        (text,) = to_texts(f"{name}: 'fs'", stated)
        rate, actual = parse_rate(text), "text that is not such a number"
    elif stated.size == 1 and stated.dtype.kind in "iuf":
        number = float(stated.item())
        rate, actual = number if 0 < number < math.inf else None, f"{number:g}"
    if rate is None:
        raise RecordError(f"{name} states a sampling rate of {actual}; it must be a number of hertz above 0.")
    return rate
