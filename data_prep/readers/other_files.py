"""Files in a folder of ECGs that are not read: their kinds, by name and content, and a summary of them."""

import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from data_prep.files import is_partial
from data_prep.leads import standard_lead
from data_prep.places import File
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
        cells = _split(_header(_head(path)))
        n_leads = sum(standard_lead(options.lead_of(cell)) is not None for cell in cells)
        is_numbers = len(cells) > 1 and all(_number(cell) is not None for cell in cells)
        if n_leads > 1 or (is_numbers and options.column_names):
            return None
        return Kind.NO_READER if is_numbers else Kind.OTHER
    return Kind.OTHER if suffix in NO_ECG_SUFFIXES or path.name.startswith(".") else Kind.NO_READER


def reason_not_ecg(path: Path, options: ReadOptions) -> str | None:
    """Return why a file that has a reader cannot be an ECG, by its first lines, or None if it may be one."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _reason(_head(path), options)
    return "it holds predictions or an evaluation of ecgmtl" if suffix == ".npz" and _holds_evaluation(path) else None


def _reason(lines: Sequence[str], options: ReadOptions) -> str | None:
    cells = _split(_header(lines))
    if cells[:3] == PREDICTIONS:
        return "it holds predictions of ecgmtl"
    states_facts = any(_STATES_FACTS.search(line) for line in lines if line.startswith("#"))
    if (
        len(cells) < 2
        or len(_split(_header(_below(lines)))) != len(cells)
        or states_facts
        or any(standard_lead(options.lead_of(cell)) for cell in cells)
    ):
        return None
    return (
        None
        if _may_be_leads(lines)
        else f"it is a table about something else: none of its {len(cells)} columns is a lead"
    )


def names_leads(path: Path, options: ReadOptions) -> bool:
    """Return whether a table's header names a lead."""
    return any(standard_lead(options.lead_of(cell)) for cell in _split(_header(_head(path))))


def _may_be_leads(lines: Sequence[str]) -> bool:
    """Return whether columns may be leads without usual names: all are numbers, and half of them fall below 0."""
    header = _header(lines)
    rows = [[_number(cell) for cell in _split(line)] for line in lines if line and not line.startswith("#")]
    if not header or all(number is not None for number in rows[0]):
        return True  # no names at all
    rows = rows[1:-1]  # the last may be cut off
    if not rows or any(number is None for row in rows for number in row):
        return False
    columns = list(zip(*rows, strict=False))
    return 2 * sum(min(column) < 0 for column in columns) >= len(columns)


def _head(path: Path) -> list[str]:
    """Return the first lines of a regular file, or none if it cannot be read."""
    content = read_head(path)
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if wide else "utf-8-sig", errors="replace").splitlines()


def _header(lines: Iterable[str]) -> str:
    candidates = (line for line in lines if line.strip() and not line.startswith(("#", "sep=")))
    return next(candidates, "")


def _below(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines after the header."""
    return lines[lines.index(_header(lines)) + 1 :]


def _split(line: str) -> list[str]:
    separator = next((mark for mark in "\t;,|" if mark in line), None)
    return [cell.strip().strip('"') for cell in line.split(separator)]


def _number(cell: str) -> float | None:
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return None


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
        named = {word for header in headers for line in _head(folder / header) for word in line.split()[:1]}
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
