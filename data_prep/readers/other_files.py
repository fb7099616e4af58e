"""Files in a folder of ECGs that are not read: their kinds, by name and content, and a summary of them."""

import os
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from data_prep.files import is_partial
from data_prep.places import File
from data_prep.readers.csv.beginning import read_beginning
from data_prep.readers.files import read_head
from data_prep.readers.options import ReadOptions
from data_prep.safe_text import printable

KNOWN_TABLES = frozenset({"ptbxl_database.csv", "scp_statements.csv", "labels.csv", "records.csv"})
"""Names of tables about records."""
TEXT_SUFFIXES = frozenset({"", ".md", ".rst", ".html", ".css", ".js", ".py", ".sh", ".ipynb", ".log", ".docx"})
SETTINGS_SUFFIXES = frozenset({".yaml", ".yml", ".toml", ".cfg", ".ini", ".json", ".jsonl", ".db", ".lock"})
MODEL_SUFFIXES = frozenset({".safetensors", ".onnx", ".pt2"})
NO_ECG_SUFFIXES = TEXT_SUFFIXES | SETTINGS_SUFFIXES | MODEL_SUFFIXES
"""Suffixes of files that hold no ECG. A file with an unknown suffix may hold one."""
NAMES_SHOWN = 5
"""Number of files of a kind whose names are listed."""


class OtherFileKind(StrEnum):
    NO_READER = "without a reader"
    TABLE = "tables about records"
    OTHER = "other files"

    def of(self, n: int) -> str:
        """Return the kind as it follows the number of its files."""
        if n != 1:
            return self
        return {OtherFileKind.TABLE: "table about records", OtherFileKind.OTHER: "other file"}.get(self, self)


class OtherFile(NamedTuple):
    """A file that is not read as an ECG."""

    path: File
    kind: OtherFileKind


def kind_of(path: Path, is_ecg: bool, is_table: bool, options: ReadOptions) -> OtherFileKind | None:
    """Return the kind of a file in a folder of ECGs, or None if it is to be read as an ECG.

    `is_ecg` says that it has a reader, `is_table` that its reader found it to hold something else than an ECG.
    """
    if path.name in KNOWN_TABLES or is_table:
        return OtherFileKind.TABLE
    if is_ecg:
        return None
    suffix = path.suffix.lower()
    if suffix == ".txt":
        table = read_beginning(path)
        is_numbers = len(table.header) > 1 and table.has_no_names
        if len(table.leads(options)) > 1 or (is_numbers and options.column_names):
            return None
        return OtherFileKind.NO_READER if is_numbers else OtherFileKind.OTHER
    return OtherFileKind.OTHER if suffix in NO_ECG_SUFFIXES or path.name.startswith(".") else OtherFileKind.NO_READER


class WfdbFiles(NamedTuple):
    """Files that belong to the WFDB records of a folder."""

    records: frozenset[str]
    """Names of the records. Other files of these names, as annotations, belong to them unless they are ECGs."""
    files: frozenset[str]
    """Names of samples' files, and of files that a killed process left."""

    @classmethod
    def of(cls, folder: Path, names: Sequence[str], sample_suffixes: tuple[str, ...]) -> "WfdbFiles":
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
    for kind in OtherFileKind:
        paths = [other.path for other in others if other.kind is kind]
        if not paths:
            continue
        names = ", ".join(printable(path.name) for path in paths[:NAMES_SHOWN])
        more = f" and {len(paths) - NAMES_SHOWN:,} more" if len(paths) > NAMES_SHOWN else ""
        suffixes = Counter(path.suffix.lower() or "no ending" for path in paths)
        counts = printable(", ".join(f"{n:,} {suffix}" for suffix, n in suffixes.items()))
        counts = "" if kind is OtherFileKind.TABLE else f" ({counts})"
        lines.append(f"not read: {len(paths):,} {kind.of(len(paths))}{counts}: {names}{more}")
    return lines


def is_same_file(path: Path, other: Path) -> bool:
    """Return whether both paths lead to one file, which need not exist yet."""
    return path.name == other.name and os.path.realpath(path) == os.path.realpath(other)


def is_within(path: Path, other: Path) -> bool:
    """Return whether a path leads to `other`, or to a file directly in it."""
    return is_same_file(path, other) or is_same_file(path.parent, other)
