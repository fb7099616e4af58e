"""PTB-XL's tables: scp_codes become labels, strat_fold becomes a split.

The label sets are those of the benchmark (Strodthoff et al. 2021, doi:10.1109/JBHI.2020.3022989), aggregated by the
table scp_statements.csv that comes with the records. A statement of likelihood 0 is present, but was not graded.
"""

import ast
from collections.abc import Mapping, Sequence

import pandas as pd

from data_prep.places import File
from data_prep.remote import is_file
from data_prep.sources.cells import is_missing, lines, numbers
from data_prep.sources.folder import Folder
from data_prep.sources.report_words import common_words
from data_prep.sources.table_file import read_table
from data_prep.sources.tables import (
    SEPARATOR,
    SPLIT_OF_FOLD,
    Source,
    SourceError,
    SourceFinding,
    fold_remarks,
    require_columns,
    table_problems,
)

PTBXL = "PTB-XL"
DATABASE = "ptbxl_database.csv"
STATEMENTS = "scp_statements.csv"
DEFAULT_LABELS = "superdiagnostic"
FILENAME_COLUMN = {100: "filename_lr", 500: "filename_hr"}
"""Published sampling rates, in hertz, and the column that names the files."""
STADIUM_COLUMNS = ("infarction_stadium1", "infarction_stadium2")
STADIA = ("unknown", "Stadium I", "Stadium I-II", "Stadium II", "Stadium II-III", "Stadium III")
"""Stages of an infarction that PTB-XL names. An empty cell states no infarction."""
AXES = ("LAD", "ALAD", "AXL", "MID", "RAD", "ARAD", "AXR", "SAG")
"""Heart axes that PTB-XL names."""


def read_ptbxl(folder: File, fs: int) -> Source:
    """Read PTB-XL as published, with the files that suit a sampling rate of `fs` hertz best.

    Raises:
        SourceError: a table or column is missing, or the records would have to be upsampled.
    """
    database, database_sha256 = read_database(folder / DATABASE)
    rows = list(database.index)
    database = database.reset_index(drop=True)
    statements, statements_sha256 = read_statements(folder)
    codes, problems = read_codes(database, rows)
    contents = Folder(folder)
    filenames, notes = choose_files(contents, database, fs)
    records = pd.DataFrame(
        {
            "ecg_id": database["ecg_id"],
            "patient_id": database["patient_id"],
            "name": filenames,
            "fold": database["strat_fold"],
            "split": database["strat_fold"].map(SPLIT_OF_FOLD),
            "age": database["age"],
            "sex": database["sex"],
            **further_columns(database),
        }
    )
    label_sets = aggregate(statements)
    problems += unknown_codes(rows, codes, label_sets["all"])
    for label_set, label_of in label_sets.items():
        records[label_set] = [cell(statements_of, label_of) for statements_of in codes]
    return Source(
        folder,
        PTBXL,
        records,
        tuple(f"{name}.hea" for name in filenames),
        lines_of_files(contents, database, rows),
        {name: tuple(sorted(set(label_of.values()))) for name, label_of in label_sets.items()},
        DEFAULT_LABELS,
        {folder / DATABASE: database_sha256, folder / STATEMENTS: statements_sha256},
        (*problems, *table_problems(records, rows)),
        notes,
        tuple(fold_remarks(records, rows)),
    )


def further_columns(database: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the heart axes, the stages of infarctions and the reports' common words, as far as the table has these.

    Cells of other words than PTB-XL's own are emptied, because they may name a person.
    """
    allowed = {"heart_axis": AXES, **dict.fromkeys(STADIUM_COLUMNS, STADIA)}
    columns = {name: database[name].str.strip() for name in allowed if name in database}
    known = {name: cells.where(cells.isin(allowed[name]), "") for name, cells in columns.items()}
    if "report" not in database:
        return known
    return {**known, "report_words": common_words(database["report"], database["patient_id"])}


def read_database(path: File) -> tuple[pd.DataFrame, str]:
    """Return ptbxl_database.csv, indexed by its lines, with numbers in the columns of numbers, and its SHA-256.

    Raises:
        SourceError: the table cannot be read, or cells are not numbers; the message names all such lines.
    """
    table, _, sha256 = read_table(path)
    whole = ("ecg_id", "patient_id", "strat_fold")
    require_columns(path, table, (*whole, "age", "sex", "scp_codes", *FILENAME_COLUMN.values()))
    if table.empty:
        raise SourceError(f"{path}: it lists no record.")
    problems = []
    for column in (*whole, "age", "sex"):
        cells = table[column]
        table[column] = numbers(cells)
        wrong = table[column].isna() & ~is_missing(cells)
        if wrong.any():
            problems.append(f"{path}, {lines(wrong.index[wrong])}: {column} is not a number.")
        elif column in whole and (table[column] % 1 != 0).any():  # true of NaN too
            broken = table.index[table[column] % 1 != 0]
            problems.append(f"{path}, {lines(broken)}: {column} is missing or not a whole number.")
    unknown = table.index[~table["strat_fold"].isin(list(SPLIT_OF_FOLD)) & table["strat_fold"].notna()]
    if len(unknown):
        problems.append(f"{path}, {lines(unknown)}: strat_fold is unknown; folds are 1 to 10.")
    if problems:
        raise SourceError("\n".join(problems))
    return table.astype(dict.fromkeys(whole, int)), sha256


def read_statements(folder: File) -> tuple[pd.DataFrame, str]:
    """Return scp_statements.csv, indexed by code, and its SHA-256. Its first column has no name."""
    path = folder / STATEMENTS
    if not is_file(path):
        raise SourceError(f"{folder}: no {STATEMENTS}, without which {DATABASE} cannot be turned into labels.")
    table, _, sha256 = read_table(path)
    table = table.set_index(table.columns[0])
    require_columns(path, table, ("diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"))
    return table, sha256


def aggregate(statements: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return the label that each statement stands for, by label set."""

    def flagged(column: str) -> pd.DataFrame:
        return statements[pd.to_numeric(statements[column], errors="coerce") == 1]

    def grouped(column: str) -> dict[str, str]:
        labels = flagged("diagnostic")[column]
        return {str(code): label for code, label in labels.items() if label}

    return {
        "all": {code: code for code in statements.index},
        "diagnostic": {code: code for code in flagged("diagnostic").index},
        "subdiagnostic": grouped("diagnostic_subclass"),
        "superdiagnostic": grouped("diagnostic_class"),
        "form": {code: code for code in flagged("form").index},
        "rhythm": {code: code for code in flagged("rhythm").index},
    }


def read_codes(database: pd.DataFrame, rows: Sequence[int]) -> tuple[list[tuple[str, ...]], list[SourceFinding]]:
    """Return the statements of each record, and a finding for each cell that is not a dictionary, by its line."""
    codes: list[tuple[str, ...]] = []
    problems = []
    for line, text in zip(rows, database["scp_codes"], strict=True):
        try:
            codes.append(tuple(ast.literal_eval(text).keys()))
        except (ValueError, SyntaxError, AttributeError, TypeError, MemoryError, RecursionError):
            codes.append(())
            message = f"{DATABASE}, line {line}: scp_codes is not a dictionary such as {{'NORM': 100.0}}."
            problems.append(SourceFinding("unreadable labels", f"line {line}", message))
    return codes, problems


def unknown_codes(rows: Sequence[int], codes: list[tuple[str, ...]], known: Mapping[str, str]) -> list[SourceFinding]:
    """Return a finding for each statement that the table of statements lacks. No statement is quoted."""
    return [
        SourceFinding(
            "label without statement",
            f"line {line}",
            f"{DATABASE}, line {line}: {STATEMENTS} lacks statement number {number} of scp_codes.",
        )
        for line, statements in zip(rows, codes, strict=True)
        for number, code in enumerate(statements, 1)
        if code not in known
    ]


def cell(codes: tuple[str, ...], label_of: Mapping[str, str]) -> str:
    return SEPARATOR.join(sorted({label_of[code] for code in codes if code in label_of}))


def choose_files(folder: Folder, database: pd.DataFrame, fs: int) -> tuple[list[str], tuple[str, ...]]:
    """Return the files of the requested rate or of a higher one. Upsampling would invent what was not recorded."""
    tops = {rate: top_of(database[column].iloc[0]) for rate, column in FILENAME_COLUMN.items()}
    present = [rate for rate, top in tops.items() if folder.has_folder(top)]
    if not present:
        raise SourceError(f"{folder.place}: neither records100 nor records500 is there, only the tables.")
    usable = [rate for rate in present if rate >= fs]
    if not usable:
        raise SourceError(
            f"{folder.place}: only the {max(present)} Hz records are there, which would have to be upsampled to {fs} "
            f"Hz; ask for {max(present)} Hz or less."
        )
    rate = fs if fs in usable else max(usable)
    note = () if rate == fs else (f"The {rate} Hz records are resampled to {fs} Hz.",)
    return list(database[FILENAME_COLUMN[rate]]), note


def lines_of_files(folder: Folder, database: pd.DataFrame, rows: Sequence[int]) -> dict[str, int]:
    """Return the files of both sampling rates, as far as their folders are there, with their lines in the table."""
    tops = {top_of(name) for column in FILENAME_COLUMN.values() for name in database[column]}
    present = {top for top in tops if folder.has_folder(top)}
    return {
        f"{name}.hea": row
        for column in FILENAME_COLUMN.values()
        for name, row in zip(database[column], rows, strict=True)
        if top_of(name) in present
    }


def top_of(filename: str) -> str:
    """Return the top folder of a file: `records100` of `records100/00000/00001_lr`."""
    return filename.partition("/")[0]
