"""Sources: a folder that a user points at, read by the tables in it."""

from pathlib import Path

from data_prep.sources.labeled_folder import TABLE, read_labeled_folder
from data_prep.sources.ptbxl import DATABASE, read_ptbxl
from data_prep.sources.tables import Source, SourceError


def has_table(folder: Path) -> bool:
    """Return whether a table in the folder names its records."""
    return (folder / DATABASE).is_file() or (folder / TABLE).is_file()


def read_source(folder: Path, fs: int) -> Source:
    """Read a PTB-XL folder or a folder with a labels.csv, with the files that suit `fs` hertz best.

    Raises:
        SourceError: there is no such folder, it has neither table, or a table cannot be used.
    """
    require_folder(folder)
    if (folder / DATABASE).is_file():
        return read_ptbxl(folder, fs)
    if (folder / TABLE).is_file():
        return read_labeled_folder(folder)
    below = next((child for child in sorted(folder.iterdir()) if (child / DATABASE).is_file()), None)
    hint = f" Did you mean {below}?" if below else ""
    raise SourceError(f"{folder}: neither {DATABASE} (PTB-XL) nor {TABLE} (any other records) is there.{hint}")


def require_folder(folder: Path) -> None:
    """Raise SourceError if there is no such folder."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}.")
