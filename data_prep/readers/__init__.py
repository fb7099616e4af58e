"""Readers, one module for each format. To add one, write SUFFIXES and `read(path, options)`, and list it in FORMATS."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from data_prep.readers import csv, dicom, edf, npz, wfdb
from data_prep.readers.options import ReadOptions
from data_prep.readers.other_files import OtherFile, is_same_file, kind_of, others_in, reason_not_ecg, summarize
from data_prep.record import Record, RecordError

__all__ = [
    "FORMATS",
    "READERS",
    "OtherFile",
    "ReadOptions",
    "find_files",
    "find_records",
    "read_record",
    "summarize",
]


class Format(Protocol):
    """A module that reads one file format."""

    SUFFIXES: tuple[str, ...]

    def read(self, path: Path, options: ReadOptions) -> Record:
        """Return the record at `path`; raise RecordError if it is damaged or is not an ECG."""


FORMATS: tuple[Format, ...] = (wfdb, npz, csv, dicom, edf)
READERS: dict[str, Callable[[Path, ReadOptions], Record]] = {
    suffix: module.read for module in FORMATS for suffix in module.SUFFIXES
}
SAMPLE_SUFFIXES = (".dat", ".mat")
"""Suffixes of files that belong to a .hea beside them."""
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
    except RecordError as error:
        if (reason := reason_not_ecg(path, options)) is not None:
            raise RecordError(f"{path.name} is not an ECG: {reason}.") from error
        raise
    except OSError as error:
        raise RecordError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise RecordError(f"{path.name} cannot be read: it needs more memory than there is; cut it first.") from error
    except Exception as error:  # whatever a damaged file makes a library raise
        raise RecordError(
            f"{path.name} cannot be read: it is damaged, or not a {path.suffix} file ({type(error).__name__})."
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
    """Yield the files to read, one for each record. `paths` are files, WFDB names without suffix, folders, or patterns.

    Folders are searched recursively and lazily, in the order of names. A path that is missing or has no reader is
    yielded if it was named itself, so that reading it says what is wrong. A WFDB record that another one in its folder
    joins is part of that one, and is yielded only if it was named itself.
    """
    return (file for file in find_files(paths) if isinstance(file, Path))


def find_files(
    paths: Iterable[Path | str],
    options: ReadOptions = ReadOptions(),  # noqa: B008, it is frozen
    leave_out: Iterable[Path] = (),
) -> Iterator[Path | OtherFile]:
    """Yield the records as `find_records` does, and among them all other files of the folders that are searched.

    `leave_out` names files that are being written, and therefore not part of the input.
    """
    seen: set[Path | OtherFile] = set()
    written = tuple(leave_out)
    for path in map(Path, paths):
        for match in _expand(path):
            for file in _walk(match, frozenset(), options) if match.is_dir() else (_header_of(match),):
                name = file if isinstance(file, Path) else file.path
                if file not in seen and not any(is_same_file(name, path) for path in written):
                    seen.add(file)
                    yield file


def _expand(path: Path) -> Iterator[Path]:
    if path.exists() or not glob.has_magic(str(path)):
        return iter((path,))
    matches = glob.glob(str(path), recursive=True)  # noqa: PTH207, Path.glob takes no absolute pattern
    return iter(sorted(map(Path, matches)) or [path])


def _header_of(path: Path) -> Path:
    """Return the .hea for WFDB's other files and for a record's bare name. Return any other path unchanged."""
    if path.suffix.lower() in SAMPLE_SUFFIXES:
        return path.with_suffix(".hea")
    if not path.exists() and (header := Path(f"{path}.hea")).exists():
        return header
    return path


def _walk(folder: Path, above: frozenset[str], options: ReadOptions) -> Iterator[Path | OtherFile]:
    """Yield the files in and below `folder`, but of a WFDB record the header alone.

    `above` holds the real paths that lead here, to which a link must not lead back.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as unsorted:
            entries = sorted(unsorted, key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    files = [entry.name for entry in entries if not entry.is_dir()]
    headers = (entry.path for entry in entries if entry.name.lower().endswith(".hea") and entry.is_file())
    joined = {part for header in headers for part in wfdb.joined_by(header)}
    without_reader = set(others_in(folder, files, frozenset(READERS), SAMPLE_SUFFIXES))
    for name in files:
        path = folder / name
        suffix = path.suffix.lower()
        if name in without_reader or (suffix in READERS and suffix not in SAMPLE_SUFFIXES and name not in joined):
            kind = kind_of(path, name not in without_reader, options)
            yield path if kind is None else OtherFile(path, kind)
    for entry in entries:
        if entry.is_dir() and entry.name != VERSION_CONTROL:
            yield from _walk(folder / entry.name, above | {real}, options)
