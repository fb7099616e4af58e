"""Contents of a folder of records by its tables: files, patients, splits and labels, and what is wrong with them."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from data_prep.errors import UserError
from data_prep.places import File
from data_prep.sources.cells import SHOWN, lines

SPLITS = ("train", "validation", "test")
SPLIT_OF_FOLD = {**dict.fromkeys(range(1, 9), "train"), 9: "validation", 10: "test"}
SEPARATOR = ";"
"""Separator of the labels of one record in a table cell."""


class SourceError(UserError):
    """A folder that cannot be prepared. The message says what its tables lack or contradict."""


@dataclass(frozen=True)
class SourceFinding:
    """One thing that is wrong with a source or one of its records."""

    kind: str
    name: str
    """The record, line or patient that the finding is about."""
    message: str
    is_note: bool = False
    """Whether it is only a note: the record is used regardless."""


@dataclass(frozen=True)
class Source:
    """A folder of records and its tables, as read. Its `problems` must be corrected before it is prepared."""

    folder: File
    kind: str
    records: pd.DataFrame
    """One row for each record: ecg_id, patient_id, name, fold, split, age, sex, and a column for each label set."""
    files: tuple[str, ...]
    """Each record's file, relative to the folder."""
    lines: Mapping[str, int]
    """Every file that the table names, at all sampling rates that are there, with its line in the table."""
    label_sets: Mapping[str, tuple[str, ...]]
    default_labels: str
    tables: Mapping[File, str]
    """Files of the tables, and the SHA-256 of each in hexadecimal digits."""
    problems: tuple[SourceFinding, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences about decisions that were made on the user's behalf."""
    remarks: tuple[SourceFinding, ...] = ()
    """Faults that do not prevent the preparation."""

    def require_sound(self) -> None:
        """Raise SourceError with all problems, after the notes, if there is one."""
        if self.problems:
            text = [*self.notes, f"{self.folder}: correct its tables first.", *listed(self.problems)]
            raise SourceError("\n".join(text))

    def sha256(self) -> str:
        """Return a digest of the tables and the choice of files, which does not depend on where the folder is."""
        digest = hashlib.sha256("\n".join(self.files).encode())
        for sha256 in self.tables.values():
            digest.update(bytes.fromhex(sha256))
        return digest.hexdigest()


def require_columns(path: File, table: pd.DataFrame, needed: Iterable[str]) -> None:
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise SourceError(
            f"{path}: no column {', '.join(missing)}; none of the {len(table.columns)} cells of its first line "
            f"has this name."
        )


def table_problems(records: pd.DataFrame, rows: Sequence[int]) -> Iterator[SourceFinding]:
    """Yield records that are listed twice or outside the folder, and patients in two splits, by line of the table."""
    for column in ("ecg_id", "name"):
        for _, repeated in by_line(records[column], rows):
            if len(repeated) > 1:
                what = "ecg_id" if column == "ecg_id" else "record"
                yield SourceFinding(
                    "listed twice", lines(repeated), f"{lines(repeated).capitalize()} have the same {what}."
                )
    outside = [line for line, name in zip(rows, records["name"], strict=True) if not lies_inside(name)]
    if outside:
        message = (
            f"{lines(outside).capitalize()}: the record does not name a file inside the folder. Write its path "
            f"relative to the folder."
        )
        yield SourceFinding("outside the folder", lines(outside), message)
    for own, splits in patients_in_several(records, rows, "split"):
        message = (
            f"{lines(own).capitalize()}: one patient has records in {splits}; a patient must belong to one split only."
        )
        yield SourceFinding("patient in two splits", lines(own), message)


def fold_remarks(records: pd.DataFrame, rows: Sequence[int]) -> Iterator[SourceFinding]:
    """Yield patients in two folds of one split, who leak if one of these folds becomes the validation fold."""
    apart = {own for own, _ in patients_in_several(records, rows, "split")}
    for own, folds in patients_in_several(records, rows, "fold"):
        if own not in apart:
            yield SourceFinding(
                "patient in two folds",
                lines(own),
                f"{lines(own).capitalize()}: one patient has records in folds {folds}; `validation_fold` "
                f"cannot be one of these. Give each patient one fold.",
            )


def patients_in_several(
    records: pd.DataFrame, rows: Sequence[int], column: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield the lines of each patient whose records differ in a column, and their values."""
    stated = records[column].where(records[column].astype(str) != "")
    several = stated.groupby(records["patient_id"]).transform("nunique") > 1
    for _, own in stated[several].groupby(records["patient_id"][several], sort=False):
        values = sorted(set(own.dropna()))
        yield tuple(rows[row] for row in own.index), " and ".join(f"{v:g}" if column == "fold" else v for v in values)


def by_line(values: pd.Series, rows: Sequence[int]) -> Iterator[tuple[Any, tuple[int, ...]]]:
    """Yield each value that occurs more than once with its lines."""
    repeated = values[values.duplicated(keep=False)]
    for value, some in repeated.groupby(repeated, sort=False):
        yield value, tuple(rows[row] for row in some.index)


def class_remarks(source: Source, labels: str) -> tuple[tuple[SourceFinding, ...], tuple[str, ...]]:
    """Return a finding for each split in which no label has both classes, and notes on single labels."""
    findings, notes = [], []
    parts = {split: source.records.loc[source.records["split"] == split, labels] for split in ("train", "validation")}
    if not all(map(len, parts.values())):
        return (), ()
    for split, cells in parts.items():
        held = cells.str.split(SEPARATOR).explode().value_counts()
        counts = {label: int(held.get(label, 0)) for label in source.label_sets[labels]}
        single = [f"{label} {count:,}" for label, count in counts.items() if count in (0, len(cells))]
        counted = f"of {len(cells):,} {split} records, these numbers have the label: {', '.join(single)}"
        if len(single) == len(counts):
            text = (
                f"Every label is given to all {split} records or to none ({counted}). A classifier needs records with "
                "a label and records without it: add records, or choose another label set."
            )
            findings.append(SourceFinding("one class only", split, text))
        elif single:
            notes.append(f"Some labels are given to all {split} records or to none ({counted}).")
    return tuple(findings), tuple(notes)


def listed(findings: Sequence[SourceFinding]) -> list[str]:
    """Return lines that list the findings by kind: their number, the first names, and what is wrong."""
    of_kind: dict[str, list[SourceFinding]] = {}
    for finding in findings:
        of_kind.setdefault(finding.kind, []).append(finding)
    width = max((len(str(len(group))) for group in of_kind.values()), default=0)
    text = []
    for kind, group in sorted(of_kind.items(), key=lambda item: -len(item[1])):
        names = ", ".join(finding.name for finding in group[:SHOWN])
        more = f" and {len(group) - SHOWN:,} more" if len(group) > SHOWN else ""
        text.append(f"  {len(group):>{width}} {kind}: {names}{more}")
        quoted = group if len(group) <= SHOWN else group[:1]
        text += [f"  {'':{width}}   {line}" for finding in quoted for line in finding.message.splitlines()]
    return text


def lies_inside(name: str) -> bool:
    """Return whether a name in a table can only mean a file inside the folder."""
    parts = name.split("/")
    is_absolute = parts[0] == "" or (len(parts) > 1 and re.fullmatch("[A-Za-z]:", parts[0]) is not None)
    return not is_absolute and ".." not in parts
