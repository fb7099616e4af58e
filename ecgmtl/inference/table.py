"""Tables of predictions in CSV, Parquet or JSON lines, written row by row and put in place when complete."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.errors import UserError
from data_prep.files import naming, write_whole, written_in_parts
from data_prep.safe_text import cell, path_cell
from ecgmtl.inference.result import Failure, Prediction

Write = Callable[[list[dict[str, Any]]], None]
"""Function that appends rows to a table."""
TEXTS = ("path", "status", "message", "findings", "warnings")
"""Columns that hold text."""


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


def format_of(path: Path) -> "TableFormat":
    """Return the format of a table by its suffix.

    Raises:
        PredictionsFileError: the suffix is of an unknown format.
    """
    if path.suffix not in FORMATS:
        raise PredictionsFileError(f"{path}: should end in {', '.join(FORMATS)}; found '{path.suffix}'.")
    return FORMATS[path.suffix]


def join(parts: Sequence[Path], path: Path) -> None:
    """Write the rows of several tables, one after the other, as one table, which appears when it is complete."""
    write_whole(path, lambda beside: format_of(path).join(parts, beside))


@contextmanager
def open_predictions(path: Path, label_names: tuple[str, ...]) -> Iterator[Write]:
    """Yield a function that appends rows. The file appears under its name only after the block ends without an error.

    Raises:
        PredictionsFileError: the suffix is of an unknown format, or the folder cannot be written.
    """
    writer = format_of(path).write
    with written_in_parts(path, PredictionsFileError) as beside, writer(beside, columns(label_names)) as write:

        def write_named(rows: list[dict[str, Any]]) -> None:
            with naming(path):  # here, since the error may pass through another file's block
                write(rows)

        yield write_named


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

    types = [pa.string() if n in TEXTS else pa.int8() if n.startswith("decision_") else pa.float64() for n in names]
    schema = pa.schema(list(zip(names, types, strict=True)))
    with pq.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(
            pa.Table.from_pylist([{n: row.get(n) for n in names} for row in map(with_codes, rows)], schema)
        )


def join_csv(parts: Sequence[Path], path: Path) -> None:
    """Write CSV files as one, with the header of the first."""
    with path.open("wb") as whole:
        for number, part in enumerate(parts):
            with part.open("rb") as file:
                header = file.readline()
                whole.write(b"" if number else header)
                shutil.copyfileobj(file, whole)


def join_jsonl(parts: Sequence[Path], path: Path) -> None:
    """Write files of JSON lines as one."""
    with path.open("wb") as whole:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)


def join_parquet(parts: Sequence[Path], path: Path) -> None:
    """Write Parquet files as one, part by part."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, pq.read_schema(parts[0])) as writer:
        for part in parts:
            writer.write_table(pq.ParquetFile(part).read())


class TableFormat(NamedTuple):
    """Functions that write tables of one format."""

    write: Callable[[Path, list[str]], AbstractContextManager[Write]]
    join: Callable[[Sequence[Path], Path], None]


FORMATS = {
    ".csv": TableFormat(write_csv, join_csv),
    ".parquet": TableFormat(write_parquet, join_parquet),
    ".jsonl": TableFormat(write_jsonl, join_jsonl),
}
