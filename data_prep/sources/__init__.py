"""Sources: a folder that a user points at, here or at a remote place, read by the tables in it."""

from pathlib import Path

from data_prep.places import File, is_file
from data_prep.record import RecordError
from data_prep.sources.labeled_folder import TABLE, read_labeled_folder
from data_prep.sources.ptbxl import DATABASE, read_ptbxl
from data_prep.sources.tables import Source, SourceError


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
    children = sorted(folder.iterdir()) if isinstance(folder, Path) else ()
    below = next((child for child in children if (child / DATABASE).is_file()), None)
    hint = f" Did you mean {below}?" if below else ""
    raise SourceError(f"{folder}: neither {DATABASE} (PTB-XL) nor {TABLE} (any other records) is there.{hint}")


def require_folder(folder: Path) -> None:
    """Raise SourceError if there is no such folder."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}.")
