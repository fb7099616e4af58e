"""Any folder of records with a labels.csv. One column names the record, others may hold its patient, split or fold, age
and sex. Every other column of yes and no is a label."""

import hashlib
from collections.abc import Iterator, Mapping

import pandas as pd

from data_prep.places import File
from data_prep.sources.cells import NO_SEX, ages, describe_missing, is_missing, is_yes, lines, numbers, sexes, words
from data_prep.sources.folder import Folder
from data_prep.sources.label_columns import Columns, understand
from data_prep.sources.record_files import (
    choices,
    files_twice,
    find_file,
    plain_record,
    plain_spelling,
    spelled_differently,
    without_suffix,
)
from data_prep.sources.table_file import is_header, read_table
from data_prep.sources.tables import (
    SEPARATOR,
    SPLIT_OF_FOLD,
    SPLITS,
    Source,
    SourceError,
    SourceFinding,
    fold_remarks,
    listed,
    table_problems,
)
from data_prep.units import OLDEST

TABLE = "labels.csv"
LABEL_SET = "labels"
SPLIT_OF_WORD = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def read_labeled_folder(folder: File) -> Source:
    """Return the records that labels.csv lists, split by patient: as the table says, or else 80/10/10 by a hash.

    Raises:
        SourceError: the table cannot be read, or no column names the record.
    """
    path = folder / TABLE
    table, notes, sha256 = read_table(path)
    if table.empty:
        raise SourceError(f"{path}: it lists no record.")
    columns = understand(path, table)
    require_record(path, table, columns)
    cells = {role: table[name].str.strip() for role, name in columns.roles.items()}
    contents = Folder(folder)
    cells["record"] = cells["record"].map(lambda record: plain_record(contents, record))
    files = tuple(find_file(contents, record) for record in cells["record"])
    records = records_of(table, columns, cells)
    problems = [*columns.problems, *no_label(path, columns), *cell_problems(path, columns, cells, records)]
    records = records.reset_index(drop=True)
    problems += table_problems(records, list(table.index))
    problems += files_twice(files, records["name"], list(table.index))
    problems += spelled_differently(path, contents, files, list(table.index))
    notes = (f"{TABLE}: {columns.describe()}", *notes, *decisions(columns, cells))
    notes += tuple(choices(contents, TABLE, cells["record"], files))
    empty = [split for split in SPLITS if split not in set(records["split"])]
    notes += tuple(f"No record fell into the split '{split}'." for split in empty)
    return Source(
        folder,
        "labeled folder",
        records,
        files,
        dict(zip(files, table.index, strict=True)),
        {LABEL_SET: columns.labels},
        LABEL_SET,
        {path: sha256},
        tuple(problems),
        notes,
        tuple(fold_remarks(records, list(table.index))),
    )


def records_of(table: pd.DataFrame, columns: Columns, cells: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Return a row for each record. `cells` are those of the columns that have a role, without spaces around them."""
    nothing = pd.Series(float("nan"), table.index)
    patient_id = cells.get("patient_id", cells["record"])
    fold = numbers(cells["fold"]) if "fold" in cells else nothing
    return pd.DataFrame(
        {
            "ecg_id": range(1, len(table) + 1),
            "patient_id": patient_id,
            "name": [without_suffix(record) for record in cells["record"]],
            "fold": fold,
            "split": splits(cells, patient_id, fold),
            "age": ages(cells["age"]) if "age" in cells else nothing,
            "sex": sexes(cells["sex"]) if "sex" in cells else nothing,
            LABEL_SET: label_cells(table, columns.labels),
        }
    )


def require_record(path: File, table: pd.DataFrame, columns: Columns) -> None:
    """Raise SourceError if no column names the record, with whatever else is wrong with the columns."""
    if "record" in columns.roles:
        return
    if not is_header(list(table.columns)):
        raise SourceError(
            f"{path}: its first line does not name the columns; put such a line above it, "
            "for example record,patient_id,AF."
        )
    message = (
        f"{path}: no column record; none of the {len(table.columns)} cells of its first line has this name. Give it "
        f"to the column of file names."
    )
    raise SourceError("\n".join([message, *listed(columns.problems)]))


def no_label(path: File, columns: Columns) -> Iterator[SourceFinding]:
    if not columns.labels:
        message = f"{path}: no label; a label is a column of 1 and 0, true and false, or yes and no."
        yield SourceFinding("no label", path.name, message)


def decisions(columns: Columns, cells: dict[str, pd.Series]) -> Iterator[str]:
    """Yield what was decided on the user's behalf, one sentence each."""
    if "patient_id" not in cells:
        yield f"{TABLE} has no column patient_id: each record counts as a patient of its own."
    yield from (f"{TABLE}: {sentence}" for sentence in columns.advice())
    if "sex" in cells:
        name = columns.roles["sex"]
        meaning = f"{name!r} is stored as 0 for male and 1 for female"
        if numbers(cells["sex"]).notna().any():
            meaning = f"0 in {name!r} counts as male, and 1 as female"
        yield f"{TABLE}: {meaning}, as in PTB-XL."
    if "age" in cells and (odd := cells["age"].index[~ages(cells["age"]).fillna(0).between(0, OLDEST)]).size:
        yield (
            f"{TABLE}: {columns.roles['age']!r} is not from 0 to {OLDEST} years in {odd.size:,} of "
            f"{len(cells['age']):,} rows ({lines(odd)}), which count as unknown; write years, not days."
        )


def splits(cells: Mapping[str, pd.Series], patient_id: pd.Series, fold: pd.Series) -> pd.Series:
    """Return the split that the table names, that of the fold, or one by the patient's hash; empty if it is unknown."""
    if "split" in cells:
        return words(cells["split"]).map(SPLIT_OF_WORD).fillna("")
    if "fold" in cells:
        return fold.map(SPLIT_OF_FOLD).fillna("")
    return patient_id.map({patient: split_of(patient) for patient in patient_id.unique()})


def split_of(patient: str) -> str:
    """Return the split of a patient, which depends on nothing else: 80 % train, 10 % each of the others."""
    fold = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8]) % 10 + 1
    return SPLIT_OF_FOLD[fold]


def label_cells(table: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """Return the labels of each record in one cell. Cells that are neither yes nor no are reported elsewhere."""
    has = pd.DataFrame({name: is_yes(table[name]) for name in names}, table.index).to_numpy()
    return [SEPARATOR.join(name for name, yes in zip(names, row, strict=True) if yes) for row in has]


def spelled_twice(patient_id: pd.Series) -> pd.Series:
    """Return whether each patient also has another spelling: `7`, `007` and `7.0`, or `p7` and `P7`."""
    return patient_id.groupby(patient_id.map(plain_spelling)).transform("nunique") > 1


def cell_problems(
    path: File, columns: Columns, cells: dict[str, pd.Series], records: pd.DataFrame
) -> Iterator[SourceFinding]:
    """Yield a finding for each column with unreadable cells. It names the lines and quotes no cell."""

    def unreadable(role: str, kind: str, wrong: pd.Series, text: str) -> Iterator[SourceFinding]:
        if wrong.any():
            where = lines(wrong.index[wrong])
            yield SourceFinding(kind, where, f"{path}, {where}: {columns.roles[role]} {text}.")

    if "patient_id" in cells:
        missing = is_missing(cells["patient_id"])
        text = (
            f"is {describe_missing(cells['patient_id'])}; write which patient the record is of, or leave out the record"
        )
        yield from unreadable("patient_id", "no patient", missing, text)
        text = (
            "spells a patient in two ways that differ only in leading zeros, '.0' or capitals; choose one, so that all "
            "records of a patient are in one split. If they are different patients, put a word before each number that "
            "tells them apart, such as that of their hospital: a-7 and b-007"
        )
        twice = spelled_twice(cells["patient_id"]) & ~missing
        yield from unreadable("patient_id", "patient spelled in two ways", twice, text)
    if "split" in cells:
        text = "is none of train, validation (val), test"
        yield from unreadable("split", "unknown split", records["split"] == "", text)
    if "fold" in cells:
        fold, by_fold = records["fold"], "split" not in cells
        wrong = (fold % 1 != 0) & (by_fold | ~is_missing(cells["fold"]))  # true of NaN too
        wrong |= by_fold & ~fold.isin(list(SPLIT_OF_FOLD))
        yield from unreadable("fold", "unknown fold", wrong, "is not a whole number; folds are 1 to 10")
    if "age" in cells:
        wrong = records["age"].isna() & ~is_missing(cells["age"])
        yield from unreadable(
            "age", "unreadable age", wrong, "is not a number of years; leave it empty where it is unknown"
        )
    if "sex" in cells:
        wrong = records["sex"].isna() & ~words(cells["sex"]).isin(NO_SEX)
        text = "is none of M, F, 0 (male), 1 (female); leave it empty where it is unknown"
        yield from unreadable("sex", "unreadable sex", wrong, text)
