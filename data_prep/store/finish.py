"""Completion of a prepared folder: rows of failures are removed, and the tables and the manifest are written."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep.files import file_sha256, write_text
from data_prep.leads import STANDARD_LEADS
from data_prep.sources.tables import Source
from data_prep.store import ledger
from data_prep.store.chunks import Chunk
from data_prep.store.manifest import (
    FORMAT,
    LOST_VOLTAGE,
    RECORDS,
    SIGNALS,
    write_failures,
    write_manifest,
)
from data_prep.store.signals_file import SignalsFile


def finish(source: Source, signals: SignalsFile, chunks: Sequence[Chunk], entries: Mapping[str, Any]) -> None:
    """Remove the rows of failures, then write the tables, and the manifest last."""
    out = signals.path.parent
    failures = dict(failure for chunk in chunks for failure in chunk.failures)
    kept = [row for row in source.records.index if row not in failures]
    signals.close(kept, len(source.files))
    warnings = dict(warning for chunk in chunks for warning in chunk.warnings)
    losses = dict(loss for chunk in chunks for loss in chunk.losses)
    remarks = {"warnings": warnings, LOST_VOLTAGE: losses}
    texts = {column: [by_row.get(row, "") for row in source.records.index] for column, by_row in remarks.items()}
    records = source.records.assign(**texts).loc[kept]
    write_text(out / RECORDS, records.to_csv(index=False))
    write_failures(out, [(source.records["name"][row], failures[row]) for row in sorted(failures)])
    manifest = {
        "format": FORMAT,
        "version": version("ecgmtl"),
        **entries,
        "n_records": len(kept),
        "n_failures": len(failures),
        "signals": {"shape": [len(kept), *signals.row_shape], "unit": "µV", "leads": STANDARD_LEADS},
        "label_sets": dict(source.label_sets),
        "columns": {name: column_kind(records[name]) for name in records.columns},
        "sha256": {name: file_sha256(out / name) for name in (SIGNALS, RECORDS)},
    }
    write_manifest(out, manifest)
    ledger.remove(out)


def column_kind(column: pd.Series) -> str:
    return {"i": "int", "f": "float"}.get(column.dtype.kind, "str")


def discard(out: Path) -> None:
    """Remove what was prepared."""
    (out / SIGNALS).unlink()
    ledger.remove(out)
