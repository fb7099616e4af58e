"""An open prepared folder: its signals, records and labels."""

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

from data_prep.filters import band_pass
from data_prep.leads import STANDARD_LEADS
from data_prep.preprocess import Preprocess
from data_prep.quality.lost_voltage import AXES, to_typical
from data_prep.sources.tables import SEPARATOR
from data_prep.store.manifest import LOST_VOLTAGE, MANIFEST, RECORDS, SIGNALS, StoreError, read_manifest
from data_prep.store.verified import require_intact
from data_prep.units import MICROVOLTS

AT_A_TIME = 256
"""Number of records that are filtered together, so that their floats take little memory."""
INT16 = (np.iinfo(np.int16).min, np.iinfo(np.int16).max)


@dataclass(frozen=True)
class Store:
    """An open prepared folder. Signals are read from disk only when they are used."""

    path: Path
    signals: Int16[np.ndarray, "record lead time"]
    """Memory-mapped or in memory, in microvolts, leads in standard order."""
    records: pd.DataFrame
    """One row for each record: ecg_id, patient_id, name, fold, split, age, sex, label sets, warnings, lost_voltage."""
    manifest: Mapping[str, Any]
    """Manifest of the signals as read. A band that is applied on reading is listed as if it had been stored."""
    band: tuple[float, float] | None = None
    """Band in hertz through which the stored signals are filtered on reading."""

    def through(self, band: Sequence[float] | None) -> "Store":
        """Return the same records, filtered on reading. A folder that was filtered in preparation stays as it is.

        The signals differ from those that `data prepare` filters by their rounding to microvolts. They differ by more
        only where a record was cut off at 32.767 mV, since the filter here follows the cut.
        """
        if band is None or self.preprocess.band is not None:
            return self
        low, high = band
        preprocess = {**self.manifest["preprocess"], "band": [low, high]}
        return replace(self, manifest={**self.manifest, "preprocess": preprocess}, band=(low, high))

    def in_memory(self) -> "Store":
        """Return the same records with their signals in memory, read and filtered once."""
        return replace(self, signals=self.read(np.arange(len(self.records))), band=None)

    def rows_of(self, split: str) -> Int64[np.ndarray, " row"]:
        """Return the rows of the records of a split, in their order; none where it has no record."""
        return np.flatnonzero(self.records["split"].to_numpy() == split)

    def read(self, rows: Int64[np.ndarray, " row"]) -> Int16[np.ndarray, "row lead time"]:
        """Return the signals of some records, in microvolts."""
        if self.band is None:
            return np.ascontiguousarray(self.signals[rows])
        signals = np.empty((len(rows), *self.signals.shape[1:]), np.int16)
        for start in range(0, len(rows), AT_A_TIME):
            part = slice(start, start + AT_A_TIME)
            signals[part] = np.rint(self._filtered(rows[part], *self.band)).clip(*INT16)
        return signals

    def read_millivolts(self, rows: Int64[np.ndarray, " row"]) -> Float32[np.ndarray, "row lead time"]:
        """Return the signals of some records, in millivolts, as a model reads them."""
        return self.read(rows).astype(np.float32) / MICROVOLTS

    def _filtered(
        self, rows: Int64[np.ndarray, " row"], low: float, high: float
    ) -> Float32[np.ndarray, "row lead time"]:
        """Return filtered signals in microvolts. Padding stays 0, and a lost voltage scale is made typical again."""
        stored = self.signals[rows].astype(np.float32)
        filtered = np.zeros_like(stored)
        lost = self.records[LOST_VOLTAGE].to_numpy()[rows]
        n_recorded = stored.shape[-1] - (stored != 0).any(axis=1)[:, ::-1].argmax(axis=1)
        for end in np.unique(n_recorded):
            some = n_recorded == end
            part = band_pass(stored[some, :, :end], self.preprocess.fs, low, high)
            for of, axes in AXES.items():
                gone = lost[some] == of
                part[gone] = MICROVOLTS * to_typical(part[gone], axes)
            filtered[some, :, :end] = part
        return filtered

    @property
    def label_sets(self) -> tuple[str, ...]:
        return tuple(self.manifest["label_sets"])

    @property
    def default_labels(self) -> str:
        """Label set to use if none is named."""
        return self.manifest["labels"]

    @cached_property
    def preprocess(self) -> Preprocess:
        """Preprocessing of the signals, which a record must go through before it is compared with them."""
        return read_preprocess(self.path, self.manifest["preprocess"])

    @property
    def sha256(self) -> str:
        """Digest of signals, records and labels, which is the same for the same data prepared anywhere."""
        data = {key: self.manifest[key] for key in ("sha256", "label_sets")}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def label_names(self, label_set: str) -> tuple[str, ...]:
        """Return the labels of a set, in the order of the columns of `labels`."""
        if label_set not in self.manifest["label_sets"]:
            raise StoreError(f"{self.path}: no label set '{label_set}'; choose one of {', '.join(self.label_sets)}.")
        return tuple(self.manifest["label_sets"][label_set])

    def labels(self, label_set: str) -> UInt8[np.ndarray, "record label"]:
        """Return 1 where a record has a label of the set, and 0 elsewhere."""
        names = self.label_names(label_set)
        cells = self.records[label_set].reset_index(drop=True)
        held = cells[cells != ""].str.split(SEPARATOR).explode()
        columns = pd.Index(names).get_indexer(pd.Index(held))
        if (columns < 0).any():
            row = held.index[columns < 0][0] + 1
            raise StoreError(
                f"{self.path / RECORDS}: row {row} has a label that '{label_set}' lacks; prepare the folder again."
            )
        labels = np.zeros((len(cells), len(names)), np.uint8)
        labels[held.index, columns] = 1
        return labels


def open_store(path: Path, *, anew: bool = False) -> Store:
    """Open a prepared folder after comparing its files with their checksums; with `anew` also those compared before.

    Raises:
        StoreError: the folder is not a prepared one, is of another version, or is not what its manifest promises.
    """
    manifest = read_manifest(path)
    signals = map_signals(path / SIGNALS, tuple(manifest["signals"]["shape"]))
    require_intact(path, {name: manifest["sha256"][name] for name in (SIGNALS, RECORDS)}, anew=anew)
    records = read_records(path / RECORDS, manifest["columns"])
    if len(records) != manifest["n_records"]:
        raise StoreError(
            f"{path / RECORDS}: holds {len(records)} rows, where {manifest['n_records']} were written; "
            "prepare the folder again."
        )
    store = Store(path, signals, records, manifest)
    if signals.shape != (len(records), len(STANDARD_LEADS), store.preprocess.n_samples):
        raise StoreError(
            f"{path / SIGNALS}: holds {signals.shape}, where {len(records)} records of {len(STANDARD_LEADS)} leads and "
            f"{store.preprocess.n_samples} samples were written; prepare the folder again."
        )
    return store


def check_store(path: Path) -> str:
    """Compare every file of a prepared folder with its checksum, and every label with its set. Return a summary.

    Raises:
        StoreError: a file has changed, or a label is unknown.
    """
    store = open_store(path, anew=True)
    for label_set in store.label_sets:
        store.labels(label_set)
    return f"{path}: a prepared folder of {len(store.records):,} records; nothing has changed since it was written."


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
    """Read the table with the types that it was written with. An empty cell is NaN in a column of floats, else ''."""
    numbers = {name: [""] for name, kind in columns.items() if kind == "float"}
    try:
        records = pd.read_csv(path, dtype=dict(columns), keep_default_na=False, na_values=numbers)
    except Exception as error:  # pandas raises errors of many kinds for cells of another type, and quotes them
        raise StoreError(f"{path}: not readable as a table of records; prepare the folder again.") from error
    if list(records.columns) != list(columns):
        raise StoreError(f"{path}: has columns other than {MANIFEST} says; prepare the folder again.")
    return records


def read_preprocess(path: Path, settings: Mapping[str, Any]) -> Preprocess:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
    }
    try:
        return Preprocess(**values)
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"{path / MANIFEST}: preprocess: {error}.") from error
