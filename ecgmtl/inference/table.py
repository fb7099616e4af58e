"""Tables of predictions in CSV, Parquet or JSON lines, written row by row and put in place when complete."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from data_prep.files import written_in_parts
from data_prep.safe_text import cell, path_cell
from ecgmtl.inference.predict import Failure, Prediction

Write = Callable[[list[dict[str, Any]]], None]
"""Function that appends rows to a table."""


class PredictionsFileError(UserError):
    """A path to which predictions cannot be written."""


def columns(label_names: tuple[str, ...]) -> list[str]:
    """Return the names of the columns."""
    by_label = [f"{kind}_{name}" for kind in ("p", "calibrated", "decision") for name in label_names]
    return ["path", "status", "message", *by_label, "reconstruction_rmse_mv", "unlike_training", "findings", "warnings"]


def row_of(result: Prediction | Failure) -> dict[str, Any]:
    """Return a result as a row. No text in it runs as a formula, breaks the line or changes a screen."""
    path = path_cell(str(result.path))
    if isinstance(result, Failure):
        return {"path": path, "status": "failed", "message": cell(result.reason), "findings": result.findings}
    return {
        "path": path,
        "status": "ok",
        **{f"p_{name}": value for name, value in result.probabilities.items()},
        **{f"calibrated_{name}": value for name, value in result.calibrated.items()},
        **{f"decision_{name}": int(value) for name, value in result.decisions.items()},
        "reconstruction_rmse_mv": result.reconstruction_rmse,
        "unlike_training": result.unlike_training,
        "findings": result.findings,
        "warnings": cell(result.warnings),
    }


def with_codes(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose findings are one text of codes, as `flat-lead=V3 limb-leads-contradict`."""
    return {**row, "findings": " ".join(finding.label for finding in row["findings"])}


def with_objects(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose findings are a list of objects."""
    return {**row, "findings": [finding.to_dict() for finding in row["findings"]]}


@contextmanager
def open_predictions(path: Path, label_names: tuple[str, ...]) -> Iterator[Write]:
    """Yield a function that appends rows. The file appears under its name only after the block ends without an error.

    Raises:
        PredictionsFileError: the suffix is of an unknown format, or the folder cannot be written.
    """
    writer = WRITERS.get(path.suffix)
    if writer is None:
        raise PredictionsFileError(f"{path}: should end in {', '.join(WRITERS)}; found '{path.suffix}'.")
    with written_in_parts(path, PredictionsFileError) as beside, writer(beside, columns(label_names)) as write:
        yield write


@contextmanager
def write_csv(path: Path, names: list[str]) -> Iterator[Write]:
    """Yield a function that appends rows to a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        yield lambda rows: writer.writerows(map(with_codes, rows))


@contextmanager
def write_jsonl(path: Path, names: list[str]) -> Iterator[Write]:
    """Yield a function that appends rows to a file of JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        yield lambda rows: file.writelines(
            json.dumps({n: row.get(n) for n in names}) + "\n" for row in map(with_objects, rows)
        )


@contextmanager
def write_parquet(path: Path, names: list[str]) -> Iterator[Write]:
    """Yield a function that appends rows to a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ("path", "status", "message", "findings", "warnings")
    types = [pa.string() if n in texts else pa.int8() if n.startswith("decision_") else pa.float64() for n in names]
    schema = pa.schema(list(zip(names, types, strict=True)))
    with pq.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(
            pa.Table.from_pylist([{n: row.get(n) for n in names} for row in map(with_codes, rows)], schema)
        )


WRITERS = {".csv": write_csv, ".parquet": write_parquet, ".jsonl": write_jsonl}
