"""Meaning of each column of a labels.csv, by its name or else by its cells."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from data_prep.places import File
from data_prep.sources.cells import NO, YES, is_missing, lines, numbers, words
from data_prep.sources.tables import SEPARATOR, SourceFinding

ROLES = {
    "record": ("record", "recordname", "recordid", "filename", "file", "filepath", "path"),
    "patient_id": (
        "patientid", "patient", "patientno", "patientnr", "patientnumber", "subject", "subjectid", "subjectno", "pid",
        "mrn",
    ),
    "split": ("split", "set", "subset", "partition", "datasplit", "datasetsplit"),
    "fold": ("fold", "folds", "foldid", "stratfold", "cvfold"),
    "age": ("age", "ageyears", "ageinyears", "patientage"),
    "sex": ("sex", "gender", "patientsex", "geschlecht"),
}  # fmt: skip
"""Names of columns by their role, as `plain_name` spells them."""
UNSURE_PATIENT = ("patient", "subject")
"""Names of columns that may also distinguish patients from controls."""
SPLIT_FLAGS = frozenset(
    {"train", "training", "istrain", "val", "valid", "validation", "isvalidation", "test", "istest"}
)
NEVER_LABELS = frozenset({
    "name", "patientname", "firstname", "lastname", "surname", "birthdate", "dateofbirth", "dob", "date", "time",
    "datetime", "timestamp", "recordingdate", "device", "site", "center", "hospital", "height", "weight",
    "bmi", "id", "ecgid", "studyid", "index", "unnamed0", "heartrate", "hr", "fs", "unit", "leads", "male", "female",
    "ismale", "isfemale", "man", "woman",
})  # fmt: skip
"""Names of columns that are not a diagnosis even if they hold 0 and 1."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table by their meaning."""

    roles: dict[str, str]
    """Names of columns by role."""
    labels: tuple[str, ...]
    left_out: dict[str, str]
    """Reasons by the names of columns that are not used."""
    problems: tuple[SourceFinding, ...]

    def describe(self) -> str:
        """Return a sentence that names every column and its meaning."""
        parts = [f"{role.removesuffix('_id')} is {name!r}" for role, name in self.roles.items()]
        parts.append(f"labels are {', '.join(self.labels)}" if self.labels else "no column is a label")
        if self.left_out:
            parts.append("left out: " + ", ".join(f"{name} ({why})" for name, why in self.left_out.items()))
        return "; ".join(parts) + "."


def understand(path: File, table: pd.DataFrame) -> Columns:
    """Return the meaning of each column. A column that cannot be understood is a problem and never a label."""
    roles: dict[str, str] = {}
    labels, left_out, problems = [], {}, []
    for role, candidates in candidates_by_role(table).items():
        if len(candidates) > 1:
            problems.append(
                unclear(path, candidates[0], f"{' and '.join(candidates)} may each be the {role}: keep one")
            )
        roles[role] = candidates[0]
    taken = {name for candidates in candidates_by_role(table).values() for name in candidates}
    for name in table.columns:
        cells = table[name]
        if name in taken:
            problems += patient_or_label(path, name, cells)
        elif plain_name(name) in SPLIT_FLAGS and holds_labels(cells):
            text = "may be a split or a label: write one column 'split' of train, validation, test, or rename the label"
            problems.append(unclear(path, name, f"{name} {text}"))
        elif plain_name(name) in NEVER_LABELS:
            left_out[name] = "not a diagnosis by its name"
        elif holds_labels(cells):
            labels.append(name)
            problems += label_problems(path, name, cells)
        else:
            left_out[name] = contents(cells)
    return Columns(roles, tuple(labels), left_out, tuple(problems))


def plain_name(name: str) -> str:
    """Return `patientid` for Patient_ID, `patient id` and patient-id."""
    return re.sub(r"[\W_]+", "", name.casefold())


def candidates_by_role(table: pd.DataFrame) -> dict[str, list[str]]:
    candidates = {role: [name for name in table.columns if plain_name(name) in names] for role, names in ROLES.items()}
    return {role: names for role, names in candidates.items() if names}


def unclear(path: File, name: str, message: str) -> SourceFinding:
    return SourceFinding("unclear column", name, f"{path}: {message}.")


def patient_or_label(path: File, name: str, cells: pd.Series) -> Iterator[SourceFinding]:
    if plain_name(name) in UNSURE_PATIENT and len(cells) > 2 and words(cells).isin(YES | NO).all():
        yield unclear(
            path,
            name,
            f"{name} holds only 1 and 0 (or yes and no): is it a patient's number or a label? Rename it to "
            f"patient_id, or to what it says of the record",
        )


def holds_labels(cells: pd.Series) -> bool:
    """Return whether at least half of the cells that are not empty are yes or no."""
    said = words(cells[~is_missing(cells)])
    return bool(len(said)) and 2 * int(said.isin(YES | NO).sum()) >= len(said)


def contents(cells: pd.Series) -> str:
    said = cells[~is_missing(cells)]
    if said.empty:
        return "empty"
    return "text" if numbers(said).isna().any() else "numbers"


def label_problems(path: File, name: str, cells: pd.Series) -> Iterator[SourceFinding]:
    if not name or SEPARATOR in name:
        message = f"{path}: {name!r} cannot name a label: a name must not be empty or contain '{SEPARATOR}'."
        yield SourceFinding("unusable label name", name, message)
    missing = is_missing(cells)
    wrong = cells.index[~missing & ~words(cells).isin(YES | NO)]
    if len(wrong):
        yield SourceFinding(
            "unreadable labels",
            name,
            f"{path}, {lines(wrong)}: {name} is neither yes nor no; a label is 1 or 0, true or false, yes or no. "
            f"Correct these cells, or remove the column if it is not a label.",
        )
    if missing.any():
        yield SourceFinding(
            "empty label cells",
            name,
            f"{path}, {lines(cells.index[missing])}: {name} is empty, and an unknown label is not 0. Write 0 "
            f"where the record is known not to have it; otherwise leave out these records or this column.",
        )
