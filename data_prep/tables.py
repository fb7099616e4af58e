"""What a folder of records offers: which files, whose they are, what they are labelled with."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

SPLITS = ("train", "validation", "test")
SPLIT_OF_FOLD = {**dict.fromkeys(range(1, 9), "train"), 9: "validation", 10: "test"}
SEPARATOR = ";"
"""Between the labels of one record in its table cell."""


class SourceError(ValueError):
    """A folder that cannot be prepared; the message says what its tables lack or contradict."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a source or one of its records."""

    kind: str
    name: str
    """The record, row or patient that it is about."""
    message: str


@dataclass(frozen=True)
class Source:
    """A folder of records and its tables, as read; `problems` are what must be put right before it is prepared."""

    folder: Path
    kind: str
    records: pd.DataFrame
    """A row a record: ecg_id, patient_id, name, fold, split, age, sex, and a column a label set."""
    files: tuple[str, ...]
    """Each record's file, relative to the folder."""
    label_sets: Mapping[str, tuple[str, ...]]
    default_labels: str
    tables: tuple[Path, ...]
    """The files that all this was read from."""
    problems: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """What was decided on the user's behalf, a sentence each."""

    def require_sound(self) -> None:
        """Raise SourceError with the first problem, if there is one."""
        if self.problems:
            more = len(self.problems) - 1
            rest = f" There are {more} more such problems; `ecgmtl data check` lists them all." if more else ""
            raise SourceError(self.problems[0].message + rest)

    def sha256(self) -> str:
        """Identifies the tables and the choice of files, wherever the folder lies."""
        digest = hashlib.sha256("\n".join(self.files).encode())
        for table in self.tables:
            digest.update(hashlib.sha256(table.read_bytes()).digest())
        return digest.hexdigest()


def read_table(path: Path) -> pd.DataFrame:
    """Every cell as the text that stands in the file, so that no code is taken for a number or a missing value.

    The index is the line of the file. Raises SourceError for a file that is no CSV or has a column twice.
    """
    try:
        rows = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not readable as CSV: {str(error).strip()}.") from error
    except OSError as error:
        raise SourceError(f"{path}: not readable: {error.strerror}.") from error
    header = [name.strip() for name in rows.iloc[0]]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise SourceError(f"{path}: the column {', '.join(map(repr, twice))} is there twice.")
    table = rows.iloc[1:].set_axis(header, axis=1)
    return table.set_axis(range(2, len(table) + 2), axis=0)


def require_columns(path: Path, table: pd.DataFrame, needed: Iterable[str]) -> None:
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise SourceError(f"{path}: no column {', '.join(missing)}; it has {', '.join(table.columns[:12])}.")


def number_column(path: Path, table: pd.DataFrame, column: str) -> pd.Series:
    """The column as numbers, NaN where a cell is empty; SourceError names the first line that is something else."""
    numbers = pd.to_numeric(table[column], errors="coerce").astype(float)
    wrong = numbers.isna() & (table[column].str.strip() != "")
    for line, text in table.loc[wrong, column].items():
        raise SourceError(f"{path}, line {line}: {column} is {text!r}, which is no number.")
    return numbers


def table_problems(records: pd.DataFrame) -> Iterator[Finding]:
    """Records listed twice, records outside the folder, patients in two splits."""
    for column in ("ecg_id", "name"):
        for value in records.loc[records[column].duplicated(), column].unique():
            yield Finding("listed twice", str(value), f"The record with {column} {value} is listed twice.")
    for name in records["name"]:
        if not lies_inside(name):
            yield Finding("outside the folder", name, f"The record {name!r} does not name a file inside the folder.")
    homes = records[["patient_id", "split"]].drop_duplicates().sort_values(["patient_id", "split"])
    for patient, splits in homes[homes["patient_id"].duplicated(keep=False)].groupby("patient_id")["split"]:
        yield Finding(
            "patient in two splits",
            str(patient),
            f"Patient {patient} has records in {' and '.join(splits)}; a patient belongs to one split only.",
        )


def lies_inside(name: str) -> bool:
    """Whether a table's entry can only mean a file inside the folder."""
    parts = name.split("/")
    return parts[0] != "" and ".." not in parts
