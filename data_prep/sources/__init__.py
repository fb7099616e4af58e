"""A folder that a user points at: what kind of source it is."""

from pathlib import Path

from data_prep.sources.labelled_folder import TABLE, read_labelled_folder
from data_prep.sources.ptbxl import DATABASE, read_ptbxl
from data_prep.sources.tables import Source, SourceError


def read_source(folder: Path, fs: int) -> Source:
    """Read a PTB-XL folder or one with a labels.csv, with the files that serve best for `fs` hertz."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: {'that is no folder' if folder.exists() else 'no such folder'}.")
    if (folder / DATABASE).is_file():
        return read_ptbxl(folder, fs)
    if (folder / TABLE).is_file():
        return read_labelled_folder(folder)
    below = next((child for child in sorted(folder.iterdir()) if (child / DATABASE).is_file()), None)
    hint = f" Did you mean {below}?" if below else ""
    raise SourceError(f"{folder}: neither {DATABASE} (PTB-XL) nor {TABLE} (any other records) is there.{hint}")
