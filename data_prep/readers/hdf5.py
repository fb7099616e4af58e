"""HDF5 files of many ECGs, like CODE-15 %: one array, (record, time, lead) or (record, lead, time), and ids.

Sampling rate, unit and names of the leads are attributes of the array, or options.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from data_prep.readers.columns import MAX_FACT, STATE_LEADS, STATE_RATE, STATE_UNIT
from data_prep.readers.faults import naming_faults
from data_prep.readers.hdf5_datasets import Dataset, open_datasets, read_attributes
from data_prep.readers.hdf5_texts import read_texts
from data_prep.readers.options import ReadOptions
from data_prep.readers.stack import (
    MAX_IDS,
    Facts,
    Stack,
    find_lead_axis,
    first_ids,
    is_ids,
    parse_fs,
    read_single,
)
from data_prep.record import Record, RecordError

NAME = "HDF5"
SUFFIXES: tuple[str, ...] = (".hdf5", ".h5")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_PLACES = (0, 512, 1024, 2048, 4096, 8192)
"""Places at which a file may begin after a block of the user's."""
_NO_ECGS = "it holds no array of ECGs, (record, time, lead) or (record, lead, time)"


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is HDF5."""
    return any(head.startswith(_SIGNATURE, place) for place in _PLACES)


def reason_not_ecg(path: Path, options: ReadOptions) -> str | None:
    """Return why a file holds no ECGs: no array has their shape; None if one has, or reading it says what is wrong."""
    try:
        with naming_faults(path.name, "valid HDF5 file"), open_datasets(path) as datasets:
            return None if datasets.n_elsewhere or _signals(datasets.own, options) else _NO_ECGS
    except RecordError:
        return None


def read(path: Path, options: ReadOptions) -> Record:
    """Return the record in a file of a single ECG.

    Raises:
        RecordError: it is damaged, holds no ECG or several, or lacks or contradicts a fact.
    """
    with open_stack(path, options) as stack:
        if stack is None:
            raise RecordError(f"{path.name} is not an ECG: {_NO_ECGS}.")
        return read_single(stack, options)


@contextmanager
def open_stack(path: Path, options: ReadOptions) -> Iterator[Stack | None]:
    """Open the one array that may hold ECGs. Yield None if there is none.

    Raises:
        RecordError: there are several, they are in other files, or what is stated beside them is unreadable.
        MissingExtraError: h5py is not installed.
    """
    with open_datasets(path) as datasets:
        signals = _signals(datasets.own, options)
        if len(signals) > 1:
            shapes = ", ".join(" x ".join(map(str, dataset.shape)) for dataset in signals)
            raise RecordError(f"{path.name} holds {len(signals)} arrays of ECGs ({shapes}); give each its own file.")
        if not signals and datasets.n_elsewhere:
            raise RecordError(
                f"{path.name} refers to arrays in other files, which are never opened; copy all of it into one file."
            )
        if not signals:
            yield None
            return
        (values,) = signals
        stack = Stack(path, values, _lead_axis(values, options) or 0, _facts(path.name, values))
        values.check()
        stack.ids, stack.remarks = _ids(path, values, datasets.own)
        yield stack


def _signals(datasets: Sequence[Dataset], options: ReadOptions) -> list[Dataset]:
    """Return the arrays of numbers that have the shape of ECGs."""
    return [dataset for dataset in datasets if _lead_axis(dataset, options) is not None]


def _lead_axis(dataset: Dataset, options: ReadOptions) -> int | None:
    if len(dataset.shape) != 3 or dataset.dtype.kind not in "iuf":
        return None
    return find_lead_axis(dataset.shape, _facts(dataset.place.source, dataset).leads or options.column_names)


def _facts(name: str, dataset: Dataset) -> Facts:
    """Return what the attributes of an array state.

    Raises:
        RecordError: two of them differ, or the sampling rate is none.
    """
    attributes = [(key.lower().replace("_", ""), fact) for key, fact in read_attributes(dataset, MAX_FACT)]
    rates = {
        parse_fs(name, fact[0] if isinstance(fact, tuple) else fact) for key, fact in attributes if key in STATE_RATE
    }
    units, leads = (
        {fact for key, fact in attributes if key in names and isinstance(fact, tuple)}
        for names in (STATE_UNIT, STATE_LEADS)
    )
    if max(len(rates), len(units), len(leads)) > 1:
        raise RecordError(
            f"{name} states its sampling rate, unit or leads in several ways; keep one attribute of each."
        )
    return Facts(next(iter(rates), None), next(iter(units), ()), next(iter(leads), None))


def _ids(path: Path, values: Dataset, datasets: Sequence[Dataset]) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the id of each ECG, or a remark why they cannot be read; neither where there are none."""
    beside = (
        dataset for dataset in datasets if dataset.place.group == values.place.group and is_ids(dataset.place.name)
    )
    return first_ids((partial(_read_ids, path, dataset) for dataset in beside), values.shape[0])


def _read_ids(path: Path, dataset: Dataset) -> np.ndarray:
    n_values = math.prod(dataset.shape)
    if n_values != dataset.shape[0] or n_values * dataset.dtype.itemsize > MAX_IDS:
        raise RecordError(f"{path.name} has ids of more than one axis, or of more than {MAX_IDS} bytes.")
    if dataset.dtype.kind == "O":
        return np.array(read_texts(path, dataset))
    dataset.check()
    return dataset.read(0, dataset.shape[0])
