"""What a folder of records offers: which files, whose they are, what they are labelled with."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep.errors import UserError
from data_prep.sources.cells import SHOWN, lines

SPLITS = ("train", "validation", "test")
SPLIT_OF_FOLD = {**dict.fromkeys(range(1, 9), "train"), 9: "validation", 10: "test"}
SEPARATOR = ";"
"""Between the labels of one record in its table cell."""


class SourceError(UserError):
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
    lines: Mapping[str, int]
    """Every file that the table names, at all sampling rates that are there, with its line in the table."""
    label_sets: Mapping[str, tuple[str, ...]]
    default_labels: str
    tables: tuple[Path, ...]
    """The files that all this was read from."""
    problems: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """What was decided on the user's behalf, a sentence each."""
    remarks: tuple[Finding, ...] = ()
    """What is wrong, but does no harm to the preparation."""

    def require_sound(self) -> None:
        """Raise SourceError with all problems, after the notes, if there is one."""
        if self.problems:
            text = [*self.notes, f"{self.folder}: its tables must be mended first.", *listed(self.problems)]
            raise SourceError("\n".join(text))

    def sha256(self) -> str:
        """Return what identifies the tables and the choice of files, wherever the folder lies."""
        digest = hashlib.sha256("\n".join(self.files).encode())
        for table in self.tables:
            digest.update(hashlib.sha256(table.read_bytes()).digest())
        return digest.hexdigest()


def require_columns(path: Path, table: pd.DataFrame, needed: Iterable[str]) -> None:
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise SourceError(
            f"{path}: no column {', '.join(missing)}; none of the {len(table.columns)} cells of its first line is so "
            f"called."
        )


def table_problems(records: pd.DataFrame, rows: Sequence[int]) -> Iterator[Finding]:
    """Yield records that are listed twice or lie outside the folder, and patients in two splits, by table line."""
    for column in ("ecg_id", "name"):
        for _, found in by_line(records[column], rows):
            if len(found) > 1:
                what = "ecg_id" if column == "ecg_id" else "record"
                yield Finding("listed twice", lines(found), f"{lines(found).capitalize()} have the same {what}.")
    outside = [line for line, name in zip(rows, records["name"], strict=True) if not lies_inside(name)]
    if outside:
        message = f"{lines(outside).capitalize()}: the record does not name a file inside the folder."
        yield Finding("outside the folder", lines(outside), message)
    for found, splits in patients_in_several(records, rows, "split"):
        message = (
            f"{lines(found).capitalize()}: one patient has records in {splits}; a patient belongs to one split only."
        )
        yield Finding("patient in two splits", lines(found), message)


def fold_remarks(records: pd.DataFrame, rows: Sequence[int]) -> Iterator[Finding]:
    """Yield patients in two folds of one split, who do harm as soon as one of these folds is validated on."""
    apart = {found for found, _ in patients_in_several(records, rows, "split")}
    for found, folds in patients_in_several(records, rows, "fold"):
        if found not in apart:
            yield Finding(
                "patient in two folds",
                lines(found),
                f"{lines(found).capitalize()}: one patient has records in folds {folds}; `validation_fold` "
                f"cannot be one of these. Give each patient one fold.",
            )


def patients_in_several(
    records: pd.DataFrame, rows: Sequence[int], column: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield the lines of each patient whose records differ in a column, and what they have there."""
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


def class_remarks(source: Source, labels: str) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Return a finding for each split of training in which no label has both classes, and notes on single labels."""
    findings, notes = [], []
    parts = {split: source.records.loc[source.records["split"] == split, labels] for split in ("train", "validation")}
    if not all(map(len, parts.values())):
        return (), ()
    for split, cells in parts.items():
        held = cells.str.split(SEPARATOR).explode().value_counts()
        counts = {label: int(held.get(label, 0)) for label in source.label_sets[labels]}
        single = [f"{label} {count:,}" for label, count in counts.items() if count in (0, len(cells))]
        told = f"of {len(cells):,} {split} records, so many have the label: {', '.join(single)}"
        if len(single) == len(counts):
            text = (
                f"No label has records with it and records without it ({told}), so that no classifier can be trained."
            )
            findings.append(Finding("one class only", split, text))
        elif single:
            notes.append(f"Not every label has records with it and records without it ({told}).")
    return tuple(findings), tuple(notes)


def listed(findings: Sequence[Finding]) -> list[str]:
    """Return lines that tell the findings by their kind: how many, the first names, and what was found."""
    of_kind: dict[str, list[Finding]] = {}
    for finding in findings:
        of_kind.setdefault(finding.kind, []).append(finding)
    width = max((len(str(len(found))) for found in of_kind.values()), default=0)
    text = []
    for kind, found in sorted(of_kind.items(), key=lambda item: -len(item[1])):
        names = ", ".join(finding.name for finding in found[:SHOWN])
        more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        text.append(f"  {len(found):>{width}} {kind}: {names}{more}")
        told = found if len(found) <= SHOWN else found[:1]
        text += [f"  {'':{width}}   {line}" for finding in told for line in finding.message.splitlines()]
    return text


def lies_inside(name: str) -> bool:
    """Return whether a table's entry can only mean a file inside the folder."""
    parts = name.split("/")
    return parts[0] != "" and ".." not in parts
