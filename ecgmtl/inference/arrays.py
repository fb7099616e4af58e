"""ECGs that a program has in memory, as records."""

import os
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from data_prep.places import AnyPath
from data_prep.readers import ReadOptions
from data_prep.readers.columns import find_columns, to_millivolts, to_record
from data_prep.record import Record, RecordError

if TYPE_CHECKING:
    import pandas as pd

ECG = AnyPath | Record
"""A path, as `ecgmtl predict` takes it, or a record that was read."""
ADVICE = "ecgmtl.from_array(signal, fs=500, unit='mV', leads=['I', 'II', ...]) makes a record of an array"


def from_array(
    signal: "np.ndarray | pd.DataFrame",
    *,
    fs: float,
    unit: str,
    leads: str | Iterable[str] | None = None,
    name: str = "array",
) -> Record:
    """Return an array with a row for each sample and a column for each lead as a record.

    `fs` is in hertz, and `unit` is mV, uV, nV or V. `leads` names the columns in their order, as
    a list or separated by commas; a DataFrame has names. Masked values are missing samples.

    Raises:
        RecordError: the array has another shape, holds no real numbers, or has no column with the name of a lead.
        TypeError, ValueError: the sampling rate or the unit is impossible.
    """
    if isinstance(fs, bool) or not isinstance(fs, Real):
        raise TypeError(f"fs: {fs!r} is not a sampling rate; it must be a number of hertz above 0.")
    own = getattr(signal, "columns", None) if leads is None else leads
    own = own.split(",") if isinstance(own, str) else own
    if own is None:
        raise ValueError("leads: an array names no columns; pass their names in order, as leads=['I', 'II', ...].")
    masked = isinstance(signal, np.ma.MaskedArray)
    names, values = tuple(map(str, own)), signal.astype(np.float64).filled(np.nan) if masked else np.asarray(signal)
    require_table(name, values, len(names))
    options = ReadOptions(fs=float(fs), unit=unit)
    columns, remarks = find_columns(name, names, [None] * len(names), options)
    return to_record(name, to_millivolts(values, columns), float(fs), columns, remarks, len(values))


def require_table(name: str, values: np.ndarray, n_leads: int) -> None:
    """Raise RecordError unless the values are real numbers, with a column for each lead."""
    if values.ndim != 2 or values.shape[1] != n_leads:
        turned = "; pass signal.T" if values.ndim == 2 and values.shape[0] == n_leads else ""
        raise RecordError(
            f"{name}: the array has the shape {values.shape}; it should have a row for each sample and a column for "
            f"each of the {n_leads} leads{turned}."
        )
    if values.dtype.kind not in "fiu":
        raise RecordError(f"{name}: the array holds {values.dtype}; it should hold integers or floating-point numbers.")


def require_ecg(ecg: object) -> ECG:
    """Return a path or a record. Raise TypeError for anything else, such as an array without rate, unit and leads."""
    if not isinstance(ecg, str | os.PathLike | Record):
        raise TypeError(f"an ECG is a path or a record, not {type(ecg).__name__}; {ADVICE}.")
    return ecg


def require_ecgs(ecgs: object) -> list[ECG]:
    """Return one path or record, or several, as a list. Raise TypeError for anything else."""
    if isinstance(ecgs, str | os.PathLike | Record):
        return [ecgs]
    if hasattr(ecgs, "columns") or isinstance(ecgs, Mapping) or not isinstance(ecgs, Iterable):
        return [require_ecg(ecgs)]
    return [require_ecg(ecg) for ecg in ecgs]
