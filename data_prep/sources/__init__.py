"""Sources: a folder that a user points at, here or at a remote place, read by the tables in it."""

from collections.abc import Sequence
from pathlib import Path

from data_prep.places import File
from data_prep.readers.npy_file import is_of_prepared_folder
from data_prep.record import RecordError
from data_prep.remote import is_file
from data_prep.sources.labeled_folder import TABLE, read_labeled_folder
from data_prep.sources.ptbxl import DATABASE, read_ptbxl
from data_prep.sources.tables import Source, SourceError

SPREADSHEET_SUFFIXES = (".xlsx", ".xls", ".ods", ".numbers")


def has_table(folder: File) -> bool:
    """Return whether a table in the folder names its records."""
    return is_file(folder / DATABASE) or is_file(folder / TABLE)


def read_source(folder: File, fs: int) -> Source:
    """Read a PTB-XL folder or a folder with a labels.csv, with the files that suit `fs` hertz best.

    Raises:
        SourceError: there is no such folder, it has neither table, or a table cannot be used.
        PlaceError: it is remote, and its place cannot be reached.
    """
    if isinstance(folder, Path):
        require_folder(folder)
    try:
        if is_file(folder / DATABASE):
            return read_ptbxl(folder, fs)
        if is_file(folder / TABLE):
            return read_labeled_folder(folder)
    except RecordError as error:
        raise SourceError(f"{folder}: its tables cannot be read. {error}") from error
    hint = what_to_do(sorted(folder.iterdir()) if isinstance(folder, Path) else ())
    raise SourceError(f"{folder}: neither {DATABASE} (PTB-XL) nor {TABLE} (any other records) is there. {hint}")


def what_to_do(children: Sequence[Path]) -> str:
    """Return what a user probably wants who prepares a folder of these files and folders, which has no table."""
    by_name = {child.name.casefold(): child for child in children}
    if any(map(is_of_prepared_folder, children)):
        return "It is a prepared folder already: pass it to --data."
    if below := next((child for child in children if child.is_dir() and has_table(child)), None):
        return f"Did you mean {below}?"
    if other := by_name.get(TABLE):
        return f"Rename {other.name} to {TABLE}."
    if other := next((child for child in children if child.suffix.lower() in SPREADSHEET_SUFFIXES), None):
        return f"Save {other.name} as CSV under the name {TABLE}."
    return f"Write a {TABLE} with the columns record, patient_id, and one of 1 and 0 for each label."


def require_folder(folder: Path) -> None:
    """Raise SourceError if there is no such folder."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}.")
