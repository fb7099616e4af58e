"""Meaning of each column of a labels.csv, by its name or else by its cells."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from data_prep.places import File
from data_prep.safe_text import printable
from data_prep.sources.cells import describe_missing, is_missing, is_no, is_yes, lines, numbers, words
from data_prep.sources.tables import SEPARATOR, SourceFinding

ROLES = {
    "record": (
        "record", "recordname", "recordid", "filename", "file", "filepath", "path", "datei", "dateiname", "dateipfad",
        "fichier", "nomfichier", "nomdufichier", "archivo",
    ),
    "patient_id": (
        "patientid", "patient", "patientno", "patientnr", "patientnumber", "subject", "subjectid", "subjectno", "pid",
        "mrn", "patientenid", "patientennr", "patientennummer", "patid", "patnr", "idpatient", "nopatient",
        "numpatient", "numeropatient", "paciente", "idpaciente",
    ),
    "split": ("split", "set", "subset", "partition", "datasplit", "datasetsplit", "aufteilung"),
    "fold": ("fold", "folds", "foldid", "stratfold", "cvfold"),
    "age": ("age", "ageyears", "ageinyears", "patientage", "alter", "alterjahre", "alterinjahren", "edad"),
    "sex": ("sex", "gender", "patientsex", "geschlecht", "sexe", "sexo", "sesso"),
}  # fmt: skip
"""Names of columns by their role, as `plain_name` spells them."""
UNSURE_PATIENT = ("patient", "subject", "paciente")
"""Names of columns that may also distinguish patients from controls."""
SPLIT_FLAGS = frozenset(
    {"train", "training", "istrain", "val", "valid", "validation", "isvalidation", "test", "istest"}
)
NEVER_LABELS = frozenset({
    "name", "patientname", "firstname", "lastname", "surname", "birthdate", "dateofbirth", "dob", "date", "time",
    "datetime", "timestamp", "recordingdate", "device", "site", "center", "hospital", "height", "weight",
    "bmi", "id", "ecgid", "studyid", "index", "unnamed0", "heartrate", "hr", "fs", "unit", "leads", "male", "female",
    "ismale", "isfemale", "man", "woman", "mannlich", "weiblich", "mann", "frau", "homme", "femme", "hombre", "mujer",
    "vorname", "nachname", "nom", "prenom", "geburtsdatum", "datum", "uhrzeit", "grosse", "gewicht", "taille", "poids",
})  # fmt: skip
"""Names of columns that are not a diagnosis even if they hold 0 and 1."""
NAMES_PATIENTS = re.compile("patient|subject|proband|paciente|^id$")
"""Names of columns that may hold the patients although no role has them, as `plain_name` spells them."""
TWO_VALUES = "two values, but not 1 and 0"
ONE_OR_EMPTY = "one value, or empty"
SHARES = "numbers from 0 to 1"
LIKE_LABELS = (TWO_VALUES, ONE_OR_EMPTY, SHARES)
"""Reasons for leaving out a column that may be meant as a label."""


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
            reasons = (f"{name or 'a column without a name'} ({why})" for name, why in self.left_out.items())
            parts.append("left out: " + ", ".join(reasons))
        return "; ".join(parts) + "."

    def advice(self) -> Iterator[str]:
        """Yield a sentence on each kind of column that is left out but may have been meant to be used."""
        labels = [name for name, reason in self.left_out.items() if reason in LIKE_LABELS]
        patients = [
            name
            for name in self.left_out
            if name not in labels
            and NAMES_PATIENTS.search(plain_name(name))
            and plain_name(name) not in NEVER_LABELS - {"id"}
        ]
        if "patient_id" not in self.roles and patients:
            yield f"If {quoted(patients)} holds the patients, rename that column to patient_id."
        if labels:
            names = ", ".join(map(repr, labels))
            yield f"not used, since a label is 1 or 0: {names}. Write these two numbers in a column that is a label."


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
    """Return `patientid` for Patient_ID, `patient id` and patient-id, and letters without their accents."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKD", name.casefold()))


def quoted(names: Sequence[str]) -> str:
    return " or ".join(map(repr, names))


def candidates_by_role(table: pd.DataFrame) -> dict[str, list[str]]:
    candidates = {role: [name for name in table.columns if plain_name(name) in names] for role, names in ROLES.items()}
    return {role: names for role, names in candidates.items() if names}


def unclear(path: File, name: str, message: str) -> SourceFinding:
    return SourceFinding("unclear column", name, f"{path}: {message}.")


def patient_or_label(path: File, name: str, cells: pd.Series) -> Iterator[SourceFinding]:
    """Yield a finding if a column of patients by its name holds only yes and no, so that it may be a label."""
    if plain_name(name) in UNSURE_PATIENT and len(cells) > 2 and (is_yes(cells) | is_no(cells)).all():
        yield unclear(
            path,
            name,
            f"{name} holds only 1 and 0 (or yes and no): is it a patient's number or a label? Rename it to "
            f"patient_id, or to what it says of the record",
        )


def holds_labels(cells: pd.Series) -> bool:
    """Return whether at least half of the cells that are not empty are yes or no."""
    filled = cells[~is_missing(cells)]
    return bool(len(filled)) and 2 * int((is_yes(filled) | is_no(filled)).sum()) >= len(filled)


def contents(cells: pd.Series) -> str:
    """Return in words what the cells of a column hold, which is the reason for leaving it out."""
    filled = cells[~is_missing(cells)]
    if filled.empty:
        return "empty"
    n_words = words(filled).nunique()
    if len(cells) > 2 and (n_words == 2 or (n_words == 1 and is_missing(cells).any())):
        return TWO_VALUES if n_words == 2 else ONE_OR_EMPTY
    values = numbers(filled)
    return "text" if values.isna().any() else SHARES if values.between(0, 1).all() else "numbers"


def label_problems(path: File, name: str, cells: pd.Series) -> Iterator[SourceFinding]:
    """Yield a finding for each reason why a column cannot be a label: its name, other words or empty cells."""
    if not name or SEPARATOR in name or printable(name) != name:
        message = (
            f"{path}: {name!r} cannot name a label: a name must not be empty, or contain '{SEPARATOR}', a line break "
            f"or another character that is not printed."
        )
        yield SourceFinding("unusable label name", printable(name), message)
    missing = is_missing(cells)
    wrong = cells.index[~missing & ~is_yes(cells) & ~is_no(cells)]
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
            f"{path}, {lines(cells.index[missing])}: {name} is {describe_missing(cells)}, and an unknown label is "
            f"not 0. Write 0 where the record is known not to have it; otherwise leave out these records or this "
            "column.",
        )
