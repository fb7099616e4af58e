"""The records of files, folders, patterns and addresses. Every other file in a folder is accounted for, too."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import overload

from data_prep import remote
from data_prep.places import AnyPath, File, RemotePath, is_remote
from data_prep.readers import npz, parquet, wfdb
from data_prep.readers.files import HEAD
from data_prep.readers.formats import (
    AMBIGUOUS_SUFFIXES,
    CERTAIN_SUFFIXES,
    READERS,
    SAMPLE_SUFFIXES,
    files_of,
    format_of,
    why_not_ecg,
)
from data_prep.readers.options import ReadOptions
from data_prep.readers.other_files import OtherFile, OtherFileKind, WfdbFiles, is_within, kind_of
from data_prep.readers.wfdb.segment import MAX_HEADER
from data_prep.record import RecordError

VERSION_CONTROL = ".git"
"""Folder that is not searched: git-annex keeps the contents of all files there, under other names."""


@overload
def find_records(paths: Path | Iterable[Path]) -> Iterator[Path]: ...
@overload
def find_records(paths: AnyPath | Iterable[AnyPath]) -> Iterator[File]: ...
def find_records(paths: AnyPath | Iterable[AnyPath]) -> Iterator[File]:
    """Yield the files to read, one for each record. `paths` is a file, a WFDB name without suffix, a folder or a
    pattern, or several of these.

    A text may also be an address, as `s3://bucket/records/` or `https://host/records/a.hea`.

    Folders are searched recursively and lazily, in the order of names. A path that is missing or has no reader is
    yielded if it was named itself, so that reading it says what is wrong. A WFDB record that another one in its folder
    joins is part of that one, and is yielded only if it was named itself.
    """
    return (file for file in find_files(paths) if not isinstance(file, OtherFile))


def find_record(path: AnyPath) -> File:
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
    paths: Path | Iterable[Path], options: ReadOptions = ..., leave_out: Iterable[Path] = ...
) -> Iterator[Path | OtherFile]: ...
@overload
def find_files(
    paths: AnyPath | Iterable[AnyPath], options: ReadOptions = ..., leave_out: Iterable[Path] = ...
) -> Iterator[File | OtherFile]: ...
def find_files(
    paths: AnyPath | Iterable[AnyPath],
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
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        files = _find_remote(path, options) if is_remote(path) else _find_local(Path(path), options)
        for file in files:
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
        return path if not header.exists() and format_of(path) is not None else header
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
    folders = [entry.name for entry in entries if _is_folder(entry)]
    files = sorted({entry.name for entry in entries}.difference(folders))
    yield from _classify_files(folder, files, options)
    for name in folders:
        if name != VERSION_CONTROL:
            yield from _walk(folder / name, above | {real}, options)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link that leads back to itself
        return False


def _classify_files(folder: Path, names: Sequence[str], options: ReadOptions) -> Iterator[Path | OtherFile]:
    """Yield the files of one folder, but of a WFDB record the header alone."""
    headers = (f"{folder}/{name}" for name in names if name.lower().endswith(".hea"))
    joined = {part for header in headers if os.path.isfile(header) for part in wfdb.joined_by(header)}  # noqa: PTH113
    wfdb_files = WfdbFiles.of(folder, names, SAMPLE_SUFFIXES)
    for name in names:
        if name not in wfdb_files.files and name not in joined:
            yield from _classified(folder / name, wfdb_files.records, options)


def _find_remote(url: str, options: ReadOptions) -> Iterator[RemotePath | OtherFile]:
    path = RemotePath.parse(url)
    matches = [path]
    if glob.has_magic(url) and not remote.exists(path):
        matches = remote.matches(path) or matches
    for match in matches:
        yield from _walk_remote(match, options) if remote.is_folder(match) else (_remote_header_of(match),)


def _remote_header_of(path: RemotePath) -> RemotePath:
    """Return the .hea for WFDB's other files and for a record's bare name, as for local files."""
    if path.suffix.lower() in SAMPLE_SUFFIXES:
        header = path.with_name(f"{path.stem}.hea")
    elif not path.suffix:
        header = path.with_name(f"{path.name}.hea")
    else:
        return path
    return header if remote.exists(header) else path


def _walk_remote(folder: RemotePath, options: ReadOptions) -> Iterator[RemotePath | OtherFile]:
    """Yield the files in and below a folder. Sketches of them are classified as local files are."""
    try:
        entries = sorted(remote.list_folder(folder))
    except FileNotFoundError:
        yield folder
        return
    by_name = {entry.name: entry for entry in entries if not entry.is_folder and remote.is_local_name(entry.name)}
    with TemporaryDirectory(prefix="ecgmtl-") as sketches:
        remote.sketch(folder, {name: _n_bytes_looked_at(name) for name in by_name}, Path(sketches))
        for result in _classify_files(Path(sketches), list(by_name), options):
            if isinstance(result, OtherFile):
                yield OtherFile(folder / result.path.name, result.kind)
            else:
                states = [(file.name, *by_name[file.name][2:]) for file in sorted(files_of(result))]
                yield replace(folder / result.name, state=str(states))
    for entry in entries:
        if not entry.name:  # an empty part of a name, which no address can hold
            yield OtherFile(RemotePath(f"{folder}//"), OtherFileKind.NO_READER)
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
        return remote.MOST_BYTES
    return 0 if suffix in CERTAIN_SUFFIXES else HEAD


def _classified(path: Path, records: frozenset[str], options: ReadOptions) -> Iterator[Path | OtherFile]:
    """Yield a file of a folder as a record or as another file. Annotations of WFDB `records` are not yielded.

    The content is looked at only where the suffix does not say what the file is.
    """
    suffix = path.suffix.lower()
    module = None if suffix in CERTAIN_SUFFIXES else format_of(path)
    has_reader = module is not None or (suffix in READERS and suffix not in AMBIGUOUS_SUFFIXES)
    if not has_reader and path.stem in records:
        return
    reason = why_not_ecg(path, module, options) if has_reader else None
    kind = kind_of(path, has_reader and reason is None, reason is not None, options)
    yield path if kind is None else OtherFile(path, kind)
