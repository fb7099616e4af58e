"""Files in a folder of ECGs that are not read: their kinds, by name and content, and a summary of them."""

import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from data_prep.files import is_partial
from data_prep.leads import standard_lead
from data_prep.places import File
from data_prep.readers.csv.lines import Lines, open_head
from data_prep.readers.csv.numbers import find_separator, is_number, parse_number, split_row
from data_prep.readers.files import read_head
from data_prep.readers.options import ReadOptions
from data_prep.record import RecordError
from data_prep.safe_text import printable

KNOWN_TABLES = frozenset({"ptbxl_database.csv", "scp_statements.csv", "labels.csv", "records.csv"})
"""Names of tables about records."""
TEXT_SUFFIXES = frozenset({"", ".md", ".rst", ".html", ".css", ".js", ".py", ".sh", ".ipynb", ".log", ".docx"})
SETTINGS_SUFFIXES = frozenset({".yaml", ".yml", ".toml", ".cfg", ".ini", ".json", ".jsonl", ".db", ".lock"})
MODEL_SUFFIXES = frozenset({".safetensors", ".onnx", ".pt2"})
NO_ECG_SUFFIXES = TEXT_SUFFIXES | SETTINGS_SUFFIXES | MODEL_SUFFIXES
"""Suffixes of files that hold no ECG. A file with an unknown suffix may hold one."""
PREDICTIONS = ["path", "status", "message"]
"""First columns of a table of predictions."""
NAMES_SHOWN = 5
_STATES_FACTS = re.compile(r"fs|unit|rate|hz", re.IGNORECASE)


class Kind(StrEnum):
    NO_READER = "without a reader"
    TABLE = "tables about records"
    OTHER = "other files"


class OtherFile(NamedTuple):
    """A file that is not read as an ECG."""

    path: File
    kind: Kind


def kind_of(path: Path, is_ecg: bool, is_table: bool, options: ReadOptions) -> Kind | None:
    """Return the kind of a file in a folder of ECGs, or None if it is to be read as an ECG.

    `is_ecg` says that it has a reader, `is_table` that its reader found it to hold something else than an ECG.
    """
    if path.name in KNOWN_TABLES or is_table:
        return Kind.TABLE
    if is_ecg:
        return None
    suffix = path.suffix.lower()
    if suffix == ".txt":
        cells = _read_beginning(path).header
        n_leads = sum(standard_lead(options.lead_of(cell)) is not None for cell in cells)
        is_numbers = len(cells) > 1 and all(map(is_number, cells))
        if n_leads > 1 or (is_numbers and options.column_names):
            return None
        return Kind.NO_READER if is_numbers else Kind.OTHER
    return Kind.OTHER if suffix in NO_ECG_SUFFIXES or path.name.startswith(".") else Kind.NO_READER


def reason_not_ecg(path: Path, options: ReadOptions) -> str | None:
    """Return why a file that has a reader cannot be an ECG, by its first lines, or None if it may be one."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _reason(_read_beginning(path), options)
    return "it holds predictions or an evaluation of ecgmtl" if suffix == ".npz" and _holds_evaluation(path) else None


def _reason(table: "_Beginning", options: ReadOptions) -> str | None:
    cells, rows = table.header, table.rows
    if cells[:3] == PREDICTIONS:
        return "it holds predictions of ecgmtl"
    states_facts = any(_STATES_FACTS.search(comment) for comment in table.comments)
    if (
        len(cells) < 2
        or len(next(rows, [])) != len(cells)
        or states_facts
        or any(standard_lead(options.lead_of(cell)) for cell in cells)
    ):
        return None
    return (
        None
        if _may_be_leads(table)
        else f"it is a table about something else: none of its {len(cells)} columns is a lead"
    )


def names_leads(path: Path, options: ReadOptions) -> bool:
    """Return whether a table's header names a lead."""
    return any(standard_lead(options.lead_of(cell)) for cell in _read_beginning(path).header)


def _may_be_leads(table: "_Beginning") -> bool:
    """Return whether columns may be leads without usual names: all are numbers, and half of them fall below 0."""
    if all(map(is_number, table.header)):
        return True  # no names at all
    rows = [[parse_number(cell) for cell in row] for row in table.rows][:-1]  # the last may be cut off
    if not rows or any(number is None for row in rows for number in row):
        return False
    columns = list(zip(*rows, strict=False))
    return 2 * sum(min(column) < 0 for column in columns) >= len(columns)


class _Beginning(NamedTuple):
    """First lines of a table of text, as its reader sees them."""

    comments: Sequence[str] = ()
    """Comments above the first row."""
    lines: Sequence[str] = ()
    """Rows as they stand, without comments and blank lines. The first may name the columns."""
    separator: str = ","

    @property
    def header(self) -> list[str]:
        """Cells of the first row; none if there is no row."""
        return split_row(self.lines[0], self.separator) if self.lines else []

    @property
    def rows(self) -> Iterator[list[str]]:
        """Cells of each row below the header."""
        return (split_row(line, self.separator) for line in self.lines[1:])


def _read_beginning(path: Path) -> _Beginning:
    """Return the first lines of a regular file, or none if it cannot be read or is not text."""
    try:
        lines = Lines(path.name, open_head(path.name, read_head(path)))
        separator = lines.separator or find_separator(lines.peek() or "")
        return _Beginning(lines.comments, list(lines), separator)
    except RecordError:  # zero bytes, or thousands of blank lines
        return _Beginning()


def _holds_evaluation(path: Path) -> bool:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with zipfile.ZipFile(path) as archive:
            return {"label_names.npy", "probabilities.npy"} <= set(archive.namelist())
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return False


class Parts(NamedTuple):
    """Files that belong to the WFDB records of a folder."""

    records: frozenset[str]
    """Names of the records. Other files of these names, as annotations, belong to them unless they are ECGs."""
    files: frozenset[str]
    """Names of samples' files, and of files that a killed process left."""

    @classmethod
    def of(cls, folder: Path, names: Sequence[str], sample_suffixes: tuple[str, ...]) -> "Parts":
        """Return what belongs to the records among the files of a folder. `sample_suffixes` need a header."""
        headers = [name for name in names if name.lower().endswith(".hea")]
        records = frozenset(name[:-4] for name in headers)
        partial = {name for name in names if is_partial(Path(name))}
        samples = {name for name in names if name.lower().endswith(sample_suffixes)}
        own = {name for name in samples if Path(name).stem in records}
        if not headers or not samples - own:
            return cls(records, frozenset(partial | own))
        words = (
            word for header in headers for line in read_head(folder / header).splitlines() for word in line.split()[:1]
        )
        named = set(map(os.fsdecode, words))
        return cls(records, frozenset(partial | own | named))


def summarize(others: Sequence[OtherFile]) -> list[str]:
    """Return a line for each kind of file that is not read, with the count and the first of their names."""
    lines = []
    for kind in Kind:
        paths = [other.path for other in others if other.kind is kind]
        if not paths:
            continue
        names = ", ".join(printable(path.name) for path in paths[:NAMES_SHOWN])
        more = f" and {len(paths) - NAMES_SHOWN:,} more" if len(paths) > NAMES_SHOWN else ""
        suffixes = Counter(path.suffix.lower() or "no ending" for path in paths)
        counts = "" if kind is Kind.TABLE else f" ({printable(', '.join(f'{n:,} {s}' for s, n in suffixes.items()))})"
        lines.append(f"not read: {len(paths):,} {kind}{counts}: {names}{more}")
    return lines


def is_same_file(path: Path, other: Path) -> bool:
    """Return whether both paths lead to one file, which need not exist yet."""
    return path.name == other.name and os.path.realpath(path) == os.path.realpath(other)


def is_within(path: Path, other: Path) -> bool:
    """Return whether a path leads to `other`, or to a file directly in it."""
    return is_same_file(path, other) or is_same_file(path.parent, other)
