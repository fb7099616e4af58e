"""NumPy archives: `signal` (time, lead), `fs` in hertz, `leads`, and optionally `unit` (mV where it is not given)."""

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.readers.files import regular_size, require_sane_size
from data_prep.readers.options import UNIT_NAMES, UNITS, ReadOptions
from data_prep.record import NO_UNIT, Record, RecordError

SUFFIXES: tuple[str, ...] = (".npz",)
_FORM = "np.savez(path, signal=<time x lead, mV>, fs=500, leads=['I', 'II', ...])"


def read(path: Path, options: ReadOptions) -> Record:
    """The record in an archive; nothing in it is ever unpickled."""
    regular_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_bombs(path.name, archive)
        with np.load(path, allow_pickle=False) as arrays:
            content = {key: arrays[key] for key in ("signal", "fs", "leads", "unit") if key in arrays}
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path.name} is no readable .npz archive ({error}); write it with {_FORM}.") from error
    return _record(path, content, options)


def _refuse_bombs(name: str, archive: zipfile.ZipFile) -> None:
    """NumPy allocates what an array's own header asks for, before it has read a byte of it."""
    for entry in archive.infolist():
        if entry.filename not in ("signal.npy", "fs.npy", "leads.npy", "unit.npy"):
            continue
        with archive.open(entry) as stream:
            first = np.lib.format.read_magic(stream) == (1, 0)
            read_header = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
            shape, _, dtype = read_header(stream)
        n_values = math.prod(shape)
        require_sane_size(f"{name}, {entry.filename}", n_values, 1)
        if n_values * dtype.itemsize > entry.file_size:
            raise RecordError(f"{name}: {entry.filename} holds fewer than the {n_values} values that it promises.")


def _record(path: Path, content: dict[str, np.ndarray], options: ReadOptions) -> Record:
    signal = content.get("signal")
    if signal is None or signal.ndim != 2 or signal.dtype.kind not in "iuf":
        found = "none" if signal is None else f"{signal.dtype} of shape {signal.shape}"
        raise RecordError(f"{path.name}: 'signal' must be an array of numbers, (time, lead); found {found}.")
    leads = tuple(map(str, content["leads"].ravel())) if "leads" in content else options.leads
    if leads is None:
        raise RecordError(f"{path.name} names no leads; write it with {_FORM}.")
    if signal.shape[1] != len(leads):
        turned = " It seems to be turned: save signal.T." if signal.shape[0] == len(leads) else ""
        raise RecordError(f"{path.name}: 'signal' has {signal.shape[1]} columns for {len(leads)} leads.{turned}")
    unit = options.unit or _text(content.get("unit"))
    if unit is None and signal.dtype.kind != "f":
        raise RecordError(f"{path.name}: whole numbers need a unit; save unit='uV' with them or pass --unit.")
    scale = UNITS.get(unit or "mV")
    if scale is None:
        raise RecordError(f"{path.name}: unit {unit!r} is not one of {UNIT_NAMES}.")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused as such by Preprocess
        millivolts = (signal * np.float64(scale)).astype(np.float32)
    return Record(path.stem, millivolts, _fs(path.name, content.get("fs"), options), leads, calibrated=unit != NO_UNIT)


def _text(value: np.ndarray | None) -> str | None:
    return None if value is None else str(value.item() if value.size == 1 else value)


def _fs(name: str, stated: Any, options: ReadOptions) -> float:
    if stated is None:
        if options.fs is None:
            raise RecordError(f"{name} states no sampling rate; save fs=500 with it or pass --fs.")
        return options.fs
    if stated.size != 1 or stated.dtype.kind not in "iuf" or not 0 < stated.item() < math.inf:
        raise RecordError(f"{name} states a sampling rate of {stated}; it must be a number of hertz above 0.")
    return float(stated.item())
