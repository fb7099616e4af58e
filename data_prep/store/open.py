"""A prepared folder, opened: its signals, records and labels."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int16, Int64, UInt8

from data_prep.leads import STANDARD_LEADS
from data_prep.lost_voltage import AXES, to_typical
from data_prep.preprocess import Preprocess, band_pass
from data_prep.sources.tables import SEPARATOR
from data_prep.store.manifest import LOST_VOLTAGE, MANIFEST, RECORDS, SIGNALS, StoreError, read_manifest
from data_prep.store.verified import require_intact

AT_A_TIME = 256
"""Records that are filtered together, so that their floats take little memory."""
WHOLE = (np.iinfo(np.int16).min, np.iinfo(np.int16).max)


@dataclass(frozen=True)
class Store:
    """A prepared folder, opened: nothing of the signals is read before it is asked for."""

    path: Path
    signals: Int16[np.ndarray, "record lead time"]
    """Memory-mapped, in microvolts, leads in standard order."""
    records: pd.DataFrame
    """A row a record: ecg_id, patient_id, name, fold, split, age, sex, a column a label set, warnings, lost_voltage."""
    manifest: Mapping[str, Any]
    """Of what is read: where a band was asked for afterwards, it stands here as if the signals had been stored so."""
    band: tuple[float, float] | None = None
    """What the stored signals have yet to go through, in hertz."""

    def through(self, band: Sequence[float] | None) -> "Store":
        """Return the same records, filtered as read. An unfiltered folder serves every band, a filtered one its own.

        Signals differ by their rounding to microvolts from those that `data prepare` filters; by more only where a
        record was cut off at 32.767 mV, for here the filter comes after it.
        """
        if band is None or self.preprocess.band is not None:
            return self
        low, high = band
        preprocess = {**self.manifest["preprocess"], "band": [low, high]}
        return replace(self, manifest={**self.manifest, "preprocess": preprocess}, band=(low, high))

    def read(self, rows: Int64[np.ndarray, " row"]) -> Int16[np.ndarray, "row lead time"]:
        """Return the signals of some records, in microvolts."""
        if self.band is None:
            return np.ascontiguousarray(self.signals[rows])
        found = np.empty((len(rows), *self.signals.shape[1:]), np.int16)
        for start in range(0, len(rows), AT_A_TIME):
            part = slice(start, start + AT_A_TIME)
            found[part] = np.rint(self._filtered(rows[part], *self.band)).clip(*WHOLE)
        return found

    def _filtered(
        self, rows: Int64[np.ndarray, " row"], low: float, high: float
    ) -> Float32[np.ndarray, "row lead time"]:
        """In microvolts; of a record that was filled up what was recorded, and of one without voltage brought to it."""
        stored = self.signals[rows].astype(np.float32)
        filtered = np.zeros_like(stored)
        lost = self.records[LOST_VOLTAGE].to_numpy()[rows]
        n_recorded = stored.shape[-1] - (stored != 0).any(axis=1)[:, ::-1].argmax(axis=1)
        for end in np.unique(n_recorded):
            some = n_recorded == end
            part = band_pass(stored[some, :, :end], self.preprocess.fs, low, high)
            for of, axes in AXES.items():
                gone = lost[some] == of
                part[gone] = 1000 * to_typical(part[gone], axes)
            filtered[some, :, :end] = part
        return filtered

    @property
    def label_sets(self) -> tuple[str, ...]:
        return tuple(self.manifest["label_sets"])

    @property
    def default_labels(self) -> str:
        """The label set to use where none is named."""
        return self.manifest["labels"]

    @cached_property
    def preprocess(self) -> Preprocess:
        """What made the signals; the same must be done to a record before it is compared with them."""
        return read_preprocess(self.path, self.manifest["preprocess"])

    @property
    def sha256(self) -> str:
        """Identifies signals, records and labels: the same for the same data prepared twice, anywhere."""
        data = {key: self.manifest[key] for key in ("sha256", "label_sets")}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def label_names(self, label_set: str) -> tuple[str, ...]:
        """The labels of a set, in the order of the columns of `labels`."""
        if label_set not in self.manifest["label_sets"]:
            raise StoreError(f"{self.path}: no label set '{label_set}'; there are {', '.join(self.label_sets)}.")
        return tuple(self.manifest["label_sets"][label_set])

    def labels(self, label_set: str) -> UInt8[np.ndarray, "record label"]:
        """1 where a record has a label, else 0; the row of a record without any label of the set is all zero."""
        names = self.label_names(label_set)
        cells = self.records[label_set].reset_index(drop=True)
        found = cells[cells != ""].str.split(SEPARATOR).explode()
        columns = pd.Index(names).get_indexer(pd.Index(found))
        if (columns < 0).any():
            row = found.index[columns < 0][0] + 1
            raise StoreError(f"{self.path / RECORDS}: row {row} has a label that is none of '{label_set}'.")
        labels = np.zeros((len(cells), len(names)), np.uint8)
        labels[found.index, columns] = 1
        return labels


def open_store(path: Path, *, anew: bool = False) -> Store:
    """Open a prepared folder after comparing its files with their checksums; with `anew` also those compared before.

    Raises StoreError for a folder that is none, was written by a newer version, or is not what its manifest promises.
    """
    manifest = read_manifest(path)
    signals = map_signals(path / SIGNALS, tuple(manifest["signals"]["shape"]))
    require_intact(path, {name: manifest["sha256"][name] for name in (SIGNALS, RECORDS)}, anew=anew)
    records = read_records(path / RECORDS, manifest["columns"])
    if len(records) != manifest["n_records"]:
        raise StoreError(f"{path / RECORDS}: {len(records)} rows, where {manifest['n_records']} were written.")
    store = Store(path, signals, records, manifest)
    if signals.shape != (len(records), len(STANDARD_LEADS), store.preprocess.n_samples):
        raise StoreError(
            f"{path / SIGNALS}: holds {signals.shape}, where {len(records)} records of {len(STANDARD_LEADS)} leads and "
            f"{store.preprocess.n_samples} samples were written; prepare the folder again."
        )
    return store


def check_store(path: Path) -> str:
    """Compare every file of a prepared folder with its checksum, and every label with its set; say that all is right.

    Raises StoreError for the first thing that is not.
    """
    store = open_store(path, anew=True)
    for label_set in store.label_sets:
        store.labels(label_set)
    return f"{path}: a prepared folder of {len(store.records):,} records; all of it is as it was written."


def map_signals(path: Path, shape: tuple[int, ...]) -> Int16[np.ndarray, "record lead time"]:
    try:
        with warnings.catch_warnings(action="error"):  # NumPy warns of a header that it has to guess at
            signals = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy parses the header as Python, which raises errors of many kinds
        raise StoreError(f"{path}: not readable as an array; prepare the folder again.") from error
    if signals.shape != shape or signals.dtype != np.int16:
        raise StoreError(
            f"{path}: holds {signals.shape} of {signals.dtype}, where {shape} of int16 were written; "
            f"prepare the folder again."
        )
    more = path.stat().st_size - signals.offset - signals.nbytes
    if more:
        raise StoreError(f"{path}: {more} bytes too long; prepare the folder again.")
    return signals


def read_records(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """The table with the types that it was written with; an empty cell is NaN in a column of floats, else ''."""
    numbers = {name: [""] for name, kind in columns.items() if kind == "float"}
    try:
        records = pd.read_csv(path, dtype=dict(columns), keep_default_na=False, na_values=numbers)
    except Exception as error:  # pandas raises errors of many kinds for cells of another type, and quotes them
        raise StoreError(f"{path}: not readable as the table that was written; prepare the folder again.") from error
    if list(records.columns) != list(columns):
        raise StoreError(f"{path}: has other columns than {MANIFEST} says; prepare the folder again.")
    return records


def read_preprocess(path: Path, settings: Mapping[str, Any]) -> Preprocess:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
    }
    try:
        return Preprocess(**values)
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"{path / MANIFEST}: preprocess: {error}.") from error
