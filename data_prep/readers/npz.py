"""NumPy archives: `signal` (time, lead), `fs` in hertz, `leads`, and optionally `unit` (mV where it is not given)."""

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.leads import split_unit
from data_prep.readers.columns import are_calibrated, find_columns, to_millivolts
from data_prep.readers.files import regular_size, require_sane_size
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError
from data_prep.units import parse_rate

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
    leads = tuple(_texts(path.name, "leads", content["leads"])) if "leads" in content else options.column_names
    if leads is None:
        raise RecordError(f"{path.name} names no leads; write it with {_FORM}.")
    if signal.shape[1] != len(leads):
        turned = " It seems to be turned: save signal.T." if signal.shape[0] == len(leads) else ""
        raise RecordError(f"{path.name}: 'signal' has {signal.shape[1]} columns for {len(leads)} leads.{turned}")
    columns, warnings = find_columns(path.name, leads, _units(path.name, signal, leads, content, options), options)
    return Record(
        path.stem,
        to_millivolts(signal, columns),
        _fs(path.name, content.get("fs"), options),
        tuple([column.lead for column in columns]),
        warnings,
        are_calibrated(columns),
    )


def _units(
    name: str, signal: np.ndarray, leads: tuple[str, ...], content: dict[str, np.ndarray], options: ReadOptions
) -> list[str | None]:
    """Return the unit of each column as the archive states it apart from the leads' names."""
    n_columns = len(leads)
    if "unit" in content:
        units = _texts(name, "unit", content["unit"])
        if len(units) not in (1, n_columns):
            raise RecordError(f"{name}: 'unit' has {len(units)} entries for {n_columns} leads; save one.")
        return [*units] * (n_columns // len(units))
    if options.unit is None and not any(split_unit(lead)[1] for lead in leads):
        if signal.dtype.kind != "f":
            raise RecordError(f"{name}: whole numbers need a unit; save unit='uV' with them or pass --unit.")
        return ["mV"] * n_columns
    return [None] * n_columns


def _texts(name: str, key: str, value: np.ndarray) -> list[str]:
    """Return the entries of an array of text or bytes."""
    if value.dtype.kind == "U":
        return [str(entry) for entry in value.ravel()]
    if value.dtype.kind == "S":
        return [bytes(entry).decode("utf-8", "replace") for entry in value.ravel()]
    raise RecordError(f"{name}: '{key}' must be text; found {value.dtype} of shape {value.shape}.")


def _fs(name: str, stated: Any, options: ReadOptions) -> float:
    if stated is None:
        if options.fs is None:
            raise RecordError(f"{name} states no sampling rate; save fs=500 with it or pass --fs.")
        return options.fs
    rate = None
    if stated.size == 1 and stated.dtype.kind in "US":
        rate = parse_rate(_texts(name, "fs", stated)[0])
    elif stated.size == 1 and stated.dtype.kind in "iuf" and 0 < stated.item() < math.inf:
        rate = float(stated.item())
    if rate is None:
        raise RecordError(f"{name} states a sampling rate of {stated}; it must be a number of hertz above 0.")
    return rate
