"""Any folder of records with a labels.csv: `record`, optionally `patient_id`, `split` or `fold`, `age`, `sex`; every
other column is a label, 1 where the record has it and 0 where not."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from data_prep.readers import READERS
from data_prep.tables import (
    SEPARATOR,
    SPLIT_OF_FOLD,
    SPLITS,
    Finding,
    Source,
    SourceError,
    number_column,
    read_table,
    require_columns,
    table_problems,
)

TABLE = "labels.csv"
LABEL_SET = "labels"
NOT_LABELS = ("record", "patient_id", "split", "fold", "age", "sex")
YES, NO = ("1", "1.0"), ("0", "0.0")


def read_labelled_folder(folder: Path) -> Source:
    """The records that labels.csv lists, split by patient: as its `split` or `fold` says, else 80/10/10 by a hash.

    Raises SourceError where the table cannot be understood.
    """
    path = folder / TABLE
    table = read_table(path)
    require_columns(path, table, ("record",))
    if table.empty:
        raise SourceError(f"{path}: no record is listed.")
    names = label_names(path, table)
    files = tuple(find_file(folder, record) for record in table["record"])
    patient_id, notes = patients(table)
    fold = number_column(path, table, "fold") if "fold" in table else pd.Series(float("nan"), table.index)
    records = pd.DataFrame(
        {
            "ecg_id": range(1, len(table) + 1),
            "patient_id": patient_id,
            "name": [without_suffix(record) for record in table["record"]],
            "fold": fold,
            "split": splits(table, patient_id, fold),
            "age": number_column(path, table, "age") if "age" in table else float("nan"),
            "sex": number_column(path, table, "sex") if "sex" in table else float("nan"),
            LABEL_SET: label_cells(table, names),
        }
    ).reset_index(drop=True)
    problems = (*row_problems(path, table, names, records), *table_problems(records))
    empty = [split for split in SPLITS if split not in set(records["split"])]
    notes += tuple(f"No record fell into the split '{split}'." for split in empty)
    return Source(folder, "labelled folder", records, files, {LABEL_SET: names}, LABEL_SET, (path,), problems, notes)


def label_names(path: Path, table: pd.DataFrame) -> tuple[str, ...]:
    names = tuple(name for name in table.columns if name not in NOT_LABELS)
    wrong = [name for name in names if not name or SEPARATOR in name]
    if wrong:
        raise SourceError(f"{path}: {wrong[0]!r} cannot name a label: a name is not empty and has no '{SEPARATOR}'.")
    if not names:
        raise SourceError(f"{path}: no label; every column but {', '.join(NOT_LABELS)} is taken for one.")
    return names


def without_suffix(record: str) -> str:
    return record.removesuffix(next((suffix for suffix in READERS if record.lower().endswith(suffix)), ""))


def find_file(folder: Path, record: str) -> str:
    """The record's file, relative to the folder; a WFDB header where there is none, for its absence to be reported."""
    if Path(record).suffix.lower() in READERS:
        return record
    there = (record + suffix for suffix in READERS if (folder / (record + suffix)).is_file())
    return next(there, record + ".hea")


def patients(table: pd.DataFrame) -> tuple[pd.Series, tuple[str, ...]]:
    if "patient_id" in table:
        return table["patient_id"].str.strip(), ()
    return table["record"], (f"{TABLE} has no column patient_id: each record counts as a patient of its own.",)


def splits(table: pd.DataFrame, patient_id: pd.Series, fold: pd.Series) -> pd.Series:
    if "split" in table:
        return table["split"].str.strip()
    if "fold" in table:
        return fold.map(SPLIT_OF_FOLD).fillna("")
    return patient_id.map({patient: split_of(patient) for patient in patient_id.unique()})


def split_of(patient: str) -> str:
    """Always the same for the same patient, wherever and in whatever company: 80 % train, 10 % each of the others."""
    fold = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8]) % 10 + 1
    return SPLIT_OF_FOLD[fold]


def label_cells(table: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    has = table[list(names)].isin(YES).to_numpy()
    return [SEPARATOR.join(name for name, yes in zip(names, row, strict=True) if yes) for row in has]


def row_problems(path: Path, table: pd.DataFrame, names: tuple[str, ...], records: pd.DataFrame) -> Iterator[Finding]:
    for name in names:
        wrong = ~table[name].isin(YES + NO)
        for line in table.index[wrong]:
            message = f"{path}, line {line}: {name} is {table[name][line]!r}; a label is 0 or 1."
            yield Finding("unreadable labels", table["record"][line], message)
    for line, patient, split in zip(table.index, records["patient_id"], records["split"], strict=True):
        if not patient and "patient_id" in table:
            yield Finding("no patient", f"line {line}", f"{path}, line {line}: patient_id is empty.")
        if split not in SPLITS:
            found = f"split is {split!r}" if "split" in table else f"fold is {table['fold'][line]!r}"
            wanted = f"a split is one of {', '.join(SPLITS)}" if "split" in table else "folds are 1 to 10"
            yield Finding("unknown split", f"line {line}", f"{path}, line {line}: {found}; {wanted}.")
