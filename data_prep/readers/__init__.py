"""Readers: one file a format. To add one, write its `SUFFIXES` and `read(path, options)`, and list it in FORMATS."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from data_prep.readers import csv, npz, wfdb
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError

__all__ = ["FORMATS", "READERS", "ReadOptions", "find_records", "read_record"]


class Format(Protocol):
    """What a module of this folder offers."""

    SUFFIXES: tuple[str, ...]

    def read(self, path: Path, options: ReadOptions) -> Record:
        """The record at `path`; RecordError if it is not a sound one."""


FORMATS: tuple[Format, ...] = (wfdb, npz, csv)
READERS: dict[str, Callable[[Path, ReadOptions], Record]] = {
    suffix: module.read for module in FORMATS for suffix in module.SUFFIXES
}
SAMPLE_SUFFIXES = (".dat", ".mat")
"""Files that belong to a .hea beside them."""
TABLES = frozenset({"ptbxl_database.csv", "scp_statements.csv", "labels.csv", "records.csv"})
"""Tables about records, which lie among them and are none."""
VERSION_CONTROL = ".git"
"""Folder that is not searched: git-annex keeps the contents of all files there, under other names."""


def read_record(path: Path, options: ReadOptions = ReadOptions()) -> Record:  # noqa: B008, it is frozen
    """Read one ECG file with the reader that its suffix names.

    Raises:
        RecordError: anything is wrong with the file, whatever its reader or a library raised.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise RecordError(_no_reader(path))
    try:
        return reader(path, options)
    except RecordError:
        raise
    except OSError as error:
        raise RecordError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise RecordError(f"{path.name} cannot be read: it needs more memory than there is; cut it first.") from error
    except Exception as error:  # whatever a damaged file makes a library raise
        raise RecordError(
            f"{path.name} cannot be read: it is damaged, or no {path.suffix} file ({type(error).__name__})."
        ) from error


def _no_reader(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder that cannot be read; look at its permissions."
    if glob.has_magic(str(path)) and not path.exists():
        return f"{path}: nothing matches this pattern."
    if not path.exists():
        return f"{path}: there is no such file."
    return f"{path.name}: no reader for '{path.suffix}' files; there is one for {', '.join(READERS)}."


def find_records(paths: Iterable[Path | str]) -> Iterator[Path]:
    """The files to read, one a record, as `paths` name them: files, WFDB names without suffix, folders, patterns.

    Folders are searched with all below them, in the order of names, as the caller goes on. What is missing or has no
    reader is passed on if it was named itself, so that reading it says what is wrong. A WFDB record that another one in
    its folder joins is part of that one, and found only if it was named itself.
    """
    named: set[Path] = set()
    for path in map(Path, paths):
        for match in _expand(path):
            for record in _walk(match, frozenset()) if match.is_dir() else (_header_of(match),):
                if record not in named:
                    named.add(record)
                    yield record


def _expand(path: Path) -> Iterator[Path]:
    if path.exists() or not glob.has_magic(str(path)):
        return iter((path,))
    matches = glob.glob(str(path), recursive=True)  # noqa: PTH207, Path.glob takes no absolute pattern
    return iter(sorted(map(Path, matches)) or [path])


def _header_of(path: Path) -> Path:
    """The .hea for WFDB's other files and for a record's bare name; any other path as it is."""
    if path.suffix.lower() in SAMPLE_SUFFIXES:
        return path.with_suffix(".hea")
    if not path.exists() and (header := Path(f"{path}.hea")).exists():
        return header
    return path


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    """Records in and below `folder`; `above` are the real paths that lead here, which a link must not lead back to."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    headers = (entry for entry in entries if entry.name.lower().endswith(".hea") and entry.is_file())
    joined = {part for header in headers for part in wfdb.joined_by(header.path)}
    for entry in entries:
        path = folder / entry.name
        suffix = path.suffix.lower()
        known = suffix in READERS and suffix not in SAMPLE_SUFFIXES and entry.name not in TABLES
        if known and entry.name not in joined and not entry.is_dir():
            yield path
    for entry in entries:
        if entry.is_dir() and entry.name != VERSION_CONTROL:
            yield from _walk(folder / entry.name, above | {real})
