"""Readers, one module for each format. A file's content says which one reads it; its suffix counts only if that cannot.

To add a format, write a module with the names of `Format` and put it into FORMATS: one import and one entry. Messages,
folders and the model card follow from that. `muse.py` is an example in XML. Modules that are not formats help them:
`files` and `xml_tree` open files safely, `channels` and `columns` make records. A test then asks for a row in
docs/own-data.md. Add a writer to FILES of `tests/vendor_files.py`, too: its file is damaged at random by `tests/fuzz`.
"""

import glob
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Protocol, overload, runtime_checkable

from data_prep import places
from data_prep.places import File, RemotePath, is_remote
from data_prep.readers import (
    aecg,
    apple,
    cardiosoft,
    csv,
    dicom,
    edan,
    edf,
    ishne,
    kardia,
    mfer,
    mortara,
    muse,
    npy_file,
    npz,
    parquet,
    philips,
    schiller,
    scp,
    wfdb,
)
from data_prep.readers.files import HEAD, read_head, regular_size
from data_prep.readers.options import ReadOptions
from data_prep.readers.other_files import (
    Kind,
    OtherFile,
    Parts,
    is_within,
    kind_of,
    reason_not_ecg,
    summarize,
)
from data_prep.readers.wfdb.long_record import open_long_record
from data_prep.readers.wfdb.samples import FORMS
from data_prep.readers.wfdb.segment import MAX_HEADER
from data_prep.record import Record, RecordError, Recording

__all__ = [
    "FORMATS",
    "READERS",
    "OtherFile",
    "ReadOptions",
    "files_of",
    "find_files",
    "find_record",
    "find_records",
    "format_names",
    "is_ecg",
    "local_copy",
    "read_record",
    "summarize",
]


@runtime_checkable
class Format(Protocol):
    """A module that reads one file format."""

    NAME: str
    """Name of the format in messages and in the documentation."""
    SUFFIXES: tuple[str, ...]
    """Suffixes that no other format has. A file with one is of this format, damaged or not."""

    def recognizes(self, head: bytes) -> bool:
        """Return whether a file whose first HEAD bytes are these is of the format. It must not raise."""

    def read(self, path: Path, options: ReadOptions) -> Record:
        """Return the record at `path`; raise RecordError if it is damaged or is not an ECG."""


FORMATS: tuple[Format, ...] = (
    wfdb,
    dicom,
    edf,
    scp,
    aecg,
    muse,
    cardiosoft,
    philips,
    schiller,
    mortara,
    ishne,
    mfer,
    edan,
    kardia,
    apple,
    npz,
    npy_file,
    parquet,
    csv,
)
"""The first that recognizes a file reads it."""
READERS: dict[str, Callable[[Path, ReadOptions], Record]] = {
    suffix: module.read for module in FORMATS for suffix in module.SUFFIXES
}
"""Readers by suffix, for files that no format recognizes by their content."""
GENERIC: dict[Format, Callable[[Path, ReadOptions], str | None]] = {
    npz: reason_not_ecg,
    csv: reason_not_ecg,
    npy_file: npy_file.reason_not_ecg,
    parquet: parquet.reason_not_ecg,
}
"""Formats that hold tables or arrays of any kind, and for each a function that says why a sound file is no ECG."""
SAMPLE_SUFFIXES = (".dat", ".mat")
"""Suffixes of files that belong to a .hea beside them."""
AMBIGUOUS_SUFFIXES = (*SAMPLE_SUFFIXES, ".txt")
"""Suffixes that files of all kinds have. In a folder, such a file is read only if its content is recognized."""
CERTAIN_SUFFIXES = frozenset(
    suffix for module in FORMATS if module not in GENERIC for suffix in module.SUFFIXES
).difference(AMBIGUOUS_SUFFIXES)
"""Suffixes of which a file in a folder is read without a look at its content."""
VERSION_CONTROL = ".git"
"""Folder that is not searched: git-annex keeps the contents of all files there, under other names."""


def read_record(file: File, options: ReadOptions = ReadOptions()) -> Record:  # noqa: B008, it is frozen
    """Read one ECG file with the reader that recognizes its content, or else has its suffix.

    Raises:
        RecordError: anything is wrong with the file, whatever its reader or a library raised.
        PlaceError: it is remote, and its place cannot be reached.
    """
    with local_copy(file) as path:
        return _read_local(path, options)


def open_recording(file: File, options: ReadOptions = ReadOptions()) -> Recording:  # noqa: B008, it is frozen
    """Read one ECG file, or open it to be read in parts if it is a long WFDB record on this machine.

    Raises:
        RecordError, PlaceError: as `read_record`.
    """
    if isinstance(file, Path) and file.suffix.lower() == ".hea":
        long = open_long_record(file, options)
        if long is not None:
            return long
    return read_record(file, options)


@contextmanager
def local_copy(file: File) -> Iterator[Path]:
    """Yield a local file itself, or a temporary copy of a remote one, with the files beside it that its header names.

    Raises:
        RecordError: there is no such remote file, or it is too large.
        PlaceError: the remote place cannot be reached.
    """
    if isinstance(file, Path):
        yield file
        return
    with TemporaryDirectory(prefix="ecgmtl-") as folder:
        try:
            path = _fetch_record(file, Path(folder))
        except FileNotFoundError as error:
            raise RecordError(f"{file.name}: there is no such file.") from error
        yield path


def _fetch_record(file: RemotePath, folder: Path) -> Path:
    path = places.fetch(file, folder)
    if file.suffix.lower() in SAMPLE_SUFFIXES:
        _fetch_beside(file, f"{file.stem}.hea", folder)
    elif file.suffix.lower() == ".hea":
        for name in wfdb.names_beside(path):
            _fetch_beside(file, name, folder)
    return path


def _fetch_beside(file: RemotePath, name: str, folder: Path) -> None:
    """Fetch the file of this name beside another one. If there is none, the reader misses it and says so."""
    spellings = dict.fromkeys([name, *(unicodedata.normalize(form, name) for form in FORMS)])
    for spelling in spellings:
        if (folder / spelling).exists():
            return
        with suppress(FileNotFoundError):
            _fetch_record(file.with_name(spelling), folder)
            return


def _read_local(path: Path, options: ReadOptions) -> Record:
    suffix = path.suffix.lower()
    module = _format_of(path)
    reader = READERS.get(suffix) if module is None else module.read
    if reader is None:
        raise RecordError(_no_reader(path))
    try:
        return reader(path, options)
    except RecordError as error:
        if (reason := _reason_not_ecg(path, module, options)) is not None:
            raise RecordError(f"{path.name} is not an ECG: {reason}.") from error
        raise
    except ModuleNotFoundError as error:
        raise RecordError(
            f"{path.name} cannot be read: the package {error.name} is not installed; pip install {error.name}."
        ) from error
    except MemoryError as error:
        raise RecordError(f"{path.name} cannot be read: it needs more memory than there is; cut it first.") from error
    except Exception as error:  # whatever a damaged file makes a library raise
        if isinstance(error, OSError) and error.errno is not None and error.strerror:  # the system's own sentence
            raise RecordError(f"{path.name} cannot be read: {error.strerror}.") from error
        kind = f"{suffix} file" if module is None else f"sound {module.NAME} file"
        raise RecordError(
            f"{path.name} cannot be read: it is damaged, or not a {kind} ({type(error).__name__})."
        ) from error


def _format_of(path: Path) -> Format | None:
    """Return the format that recognizes a file's content, or None. WFDB finds headers and samples by their names."""
    suffix = path.suffix.lower()
    if suffix in SAMPLE_SUFFIXES and path.with_suffix(".hea").exists():
        return wfdb
    head = read_head(path)
    if suffix == ".hea" and b"\0" not in head:
        return wfdb
    return next((module for module in FORMATS if module.recognizes(head)), None) if head else None


def files_of(path: Path) -> frozenset[Path]:
    """Return the local files that a record is read from: `path`, and what a WFDB header names."""
    return wfdb.files_of(path) if path.suffix.lower() == ".hea" else frozenset({path})


def is_ecg(path: Path) -> bool:
    """Return whether a format recognizes a file by its content."""
    return _format_of(path) is not None


def _reason_not_ecg(path: Path, module: Format | None, options: ReadOptions) -> str | None:
    """Return why a file is no ECG, where its format, by its content or else its suffix, also holds other things."""
    suffix = path.suffix.lower()
    module = module or next((each for each in FORMATS if suffix in each.SUFFIXES), None)
    return GENERIC[module](path, options) if module in GENERIC else None


def _no_reader(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder that cannot be read; look at its permissions."
    if glob.has_magic(str(path)) and not path.exists():
        return f"{path}: nothing matches this pattern."
    if not path.exists():
        return f"{path}: there is no such file."
    regular_size(path)
    return f"{path.name}: its content is of no format with a reader; there is one for {format_names()}."


def format_names() -> str:
    """Return the names of all formats, in one line."""
    return ", ".join(module.NAME for module in FORMATS)


@overload
def find_records(paths: Iterable[Path]) -> Iterator[Path]: ...
@overload
def find_records(paths: Iterable[Path | str]) -> Iterator[File]: ...
def find_records(paths: Iterable[Path | str]) -> Iterator[File]:
    """Yield the files to read, one for each record. `paths` are files, WFDB names without suffix, folders, or patterns.

    A text may also be an address, as `s3://bucket/records/` or `https://host/records/a.hea`.

    Folders are searched recursively and lazily, in the order of names. A path that is missing or has no reader is
    yielded if it was named itself, so that reading it says what is wrong. A WFDB record that another one in its folder
    joins is part of that one, and is yielded only if it was named itself.
    """
    return (file for file in find_files(paths) if not isinstance(file, OtherFile))


def find_record(path: Path | str) -> File:
    """Return the file to read for a path that leads to exactly one record.

    Raises:
        RecordError: it leads to none or to several.
    """
    files = list(islice(find_records([path]), 2))
    if len(files) != 1:
        raise RecordError(f"{path}: should be one record; found {'more than one' if files else 'none'}.")
    return files[0]


@overload
def find_files(
    paths: Iterable[Path], options: ReadOptions = ..., leave_out: Iterable[Path] = ...
) -> Iterator[Path | OtherFile]: ...
@overload
def find_files(
    paths: Iterable[Path | str], options: ReadOptions = ..., leave_out: Iterable[Path] = ...
) -> Iterator[File | OtherFile]: ...
def find_files(
    paths: Iterable[Path | str],
    options: ReadOptions = ReadOptions(),  # noqa: B008, it is frozen
    leave_out: Iterable[Path] = (),
) -> Iterator[File | OtherFile]:
    """Yield the records as `find_records` does, and among them all other files of the folders that are searched.

    `leave_out` names files, and folders of files, that are being written and therefore not part of the input.

    Raises:
        PlaceError: a remote place cannot be reached.
    """
    seen: set[File | OtherFile] = set()
    written = tuple(leave_out)
    for path in paths:
        found = _find_remote(str(path), options) if is_remote(path) else _find_local(Path(path), options)
        for file in found:
            name = file.path if isinstance(file, OtherFile) else file
            if file not in seen and not (isinstance(name, Path) and any(is_within(name, path) for path in written)):
                seen.add(file)
                yield file


def _find_local(path: Path, options: ReadOptions) -> Iterator[Path | OtherFile]:
    for match in _expand(path):
        yield from _walk(match, frozenset(), options) if match.is_dir() else (_header_of(match),)


def _expand(path: Path) -> Iterator[Path]:
    if path.exists() or not glob.has_magic(str(path)):
        return iter((path,))
    matches = glob.glob(str(path), recursive=True)  # noqa: PTH207, Path.glob takes no absolute pattern
    return iter(sorted(map(Path, matches)) or [path])


def _header_of(path: Path) -> Path:
    """Return the .hea for WFDB's other files and for a record's bare name. Return any other path unchanged."""
    if path.suffix.lower() in SAMPLE_SUFFIXES:
        header = path.with_suffix(".hea")
        return path if not header.exists() and _format_of(path) is not None else header
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
    yield from _classify_files(folder, [entry.name for entry in entries if not entry.is_dir()], options)
    for entry in entries:
        if entry.is_dir() and entry.name != VERSION_CONTROL:
            yield from _walk(folder / entry.name, above | {real}, options)


def _classify_files(folder: Path, names: Sequence[str], options: ReadOptions) -> Iterator[Path | OtherFile]:
    """Yield the files of one folder, but of a WFDB record the header alone."""
    headers = (f"{folder}/{name}" for name in names if name.lower().endswith(".hea"))
    joined = {part for header in headers if os.path.isfile(header) for part in wfdb.joined_by(header)}  # noqa: PTH113
    parts = Parts.of(folder, names, SAMPLE_SUFFIXES)
    for name in names:
        if name not in parts.files and name not in joined:
            yield from _classified(folder / name, parts.records, options)


def _find_remote(url: str, options: ReadOptions) -> Iterator[RemotePath | OtherFile]:
    place = RemotePath.parse(url)
    found = [place]
    if glob.has_magic(url) and not places.exists(place):
        found = places.matches(place) or found
    for match in found:
        yield from _walk_remote(match, options) if places.is_folder(match) else (_remote_header_of(match),)


def _remote_header_of(place: RemotePath) -> RemotePath:
    """Return the .hea for WFDB's other files and for a record's bare name, as for local files."""
    if place.suffix.lower() in SAMPLE_SUFFIXES:
        header = place.with_name(f"{place.stem}.hea")
    elif not place.suffix:
        header = place.with_name(f"{place.name}.hea")
    else:
        return place
    return header if places.exists(header) else place


def _walk_remote(folder: RemotePath, options: ReadOptions) -> Iterator[RemotePath | OtherFile]:
    """Yield the files in and below a folder. Sketches of them are classified as local files are."""
    try:
        entries = sorted(places.list_folder(folder))
    except FileNotFoundError:
        yield folder
        return
    by_name = {entry.name: entry for entry in entries if not entry.is_folder and places.is_local_name(entry.name)}
    with TemporaryDirectory(prefix="ecgmtl-") as sketches:
        places.sketch(folder, {name: _n_bytes_looked_at(name) for name in by_name}, Path(sketches))
        for result in _classify_files(Path(sketches), list(by_name), options):
            if isinstance(result, OtherFile):
                yield OtherFile(folder / result.path.name, result.kind)
            else:
                states = [(file.name, *by_name[file.name][2:]) for file in sorted(files_of(result))]
                yield replace(folder / result.name, state=str(states))
    for entry in entries:
        if not entry.name:  # an empty part of a name, which no address can hold
            yield OtherFile(RemotePath(f"{folder}//"), Kind.NO_READER)
        elif entry.is_folder and entry.name != VERSION_CONTROL:
            yield from _walk_remote(folder / entry.name, options)
        elif entry.name not in by_name and not entry.is_folder:
            yield folder / entry.name  # reading it says what is wrong with its name


def _n_bytes_looked_at(name: str) -> int:
    """Return how many bytes of a file say what it is: none where its suffix does, all of a header or an archive."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".hea":
        return MAX_HEADER + 1
    if suffix in (*npz.SUFFIXES, *parquet.SUFFIXES):
        return places.MOST_BYTES
    return 0 if suffix in CERTAIN_SUFFIXES else HEAD


def _classified(path: Path, records: frozenset[str], options: ReadOptions) -> Iterator[Path | OtherFile]:
    """Yield a file of a folder as a record or as another file. Annotations of WFDB `records` are not yielded.

    The content is looked at only where the suffix does not say what the file is.
    """
    suffix = path.suffix.lower()
    module = None if suffix in CERTAIN_SUFFIXES else _format_of(path)
    has_reader = module is not None or (suffix in READERS and suffix not in AMBIGUOUS_SUFFIXES)
    if not has_reader and path.stem in records:
        return
    reason = _reason_not_ecg(path, module, options) if has_reader else None
    kind = kind_of(path, has_reader and reason is None, reason is not None, options)
    yield path if kind is None else OtherFile(path, kind)
