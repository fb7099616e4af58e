"""Reading one ECG file, which may lie in a bucket or on a web server."""

import glob
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from data_prep import remote
from data_prep.places import AnyPath, File, RemotePath, parse_place
from data_prep.readers import wfdb
from data_prep.readers.csv.beginning import read_beginning
from data_prep.readers.faults import naming_faults
from data_prep.readers.files import regular_size
from data_prep.readers.formats import (
    READERS,
    SAMPLE_SUFFIXES,
    StackFormat,
    format_names,
    format_of,
    format_of_suffix,
    why_not_ecg,
)
from data_prep.readers.options import ReadOptions
from data_prep.readers.stack import Stack
from data_prep.readers.wfdb.long_record import open_long_record
from data_prep.readers.wfdb.samples import FORMS
from data_prep.record import Record, RecordError, Recording, Remark

SAME_RATE = 0.001
"""Relative difference up to which two rates are the same, since some files round theirs."""


def read_record(file: AnyPath | RemotePath, options: ReadOptions = ReadOptions()) -> Record:  # noqa: B008, it is frozen
    """Read one ECG file with the reader that recognizes its content, or else has its suffix.

    `file` is a path or the address of a remote file, such as `https://host/records/a.hea`.

    Raises:
        RecordError: anything is wrong with the file, whatever its reader or a library raised.
        PlaceError: it is remote, and its place cannot be reached.
    """
    with local_copy(file if isinstance(file, RemotePath) else parse_place(file)) as path:
        record = with_possible_rate(_read_local(path, options), options)
    return replace(record, remarks=(*record.remarks, *rate_remarks(record.fs, options)))


def with_possible_rate(record: Record, options: ReadOptions) -> Record:
    """Return the record at the rate that was given, if no ECG has the one that its file states."""
    fs = options.rate_of(record.fs)
    if fs == record.fs:
        return record
    seconds = None if record.total_seconds is None else record.total_seconds * record.fs / fs
    sentence = f"its stated sampling rate of {record.fs:g} Hz, which no ECG has, is replaced by {fs:g} Hz."
    remarks = (*record.remarks, Remark("rate-replaced", sentence))
    return replace(record, fs=fs, total_seconds=seconds, remarks=remarks)


def rate_remarks(fs: float, options: ReadOptions) -> tuple[Remark, ...]:
    """Return a remark if a file's rate is not the one that was given for files that state none."""
    if options.fs is None or abs(fs / options.fs - 1) <= SAME_RATE:
        return ()
    sentence = (
        f"its stated sampling rate of {fs:g} Hz is used, not the given one of {options.fs:g} Hz; correct the file if "
        "it states a wrong one."
    )
    return (Remark("rate-not-used", sentence),)


def open_recording(file: File, options: ReadOptions = ReadOptions()) -> Recording:  # noqa: B008, it is frozen
    """Read one ECG file, or open it to be read in parts if it is a long WFDB record on this machine.

    Raises:
        RecordError, PlaceError: as `read_record`.
    """
    if isinstance(file, Path) and file.suffix.lower() == ".hea":
        long = open_long_record(file, options)
        if long is not None and not rate_remarks(long.fs, options):  # a remark is added to records in memory alone
            return long
    return read_record(file, options)


def holds_ecg(path: Path, options: ReadOptions = ReadOptions()) -> bool:  # noqa: B008, it is frozen
    """Return whether a local file is an ECG, whatever its suffix: by its content, or because its reader reads it."""
    if not path.is_file():
        return False
    module = format_of(path)
    if why_not_ecg(path, module, options) is not None:
        return False
    if module is not None or (path.suffix.lower() == ".csv" and read_beginning(path).leads(options)):
        return True
    with suppress(RecordError):
        return len(_read_local(path, options).signal) > 0
    return False


@contextmanager
def open_stack(path: Path, options: ReadOptions = ReadOptions()) -> Iterator[Stack | None]:  # noqa: B008, it is frozen
    """Open a local file of many ECGs in one array. Yield None for any other file, also where it cannot be read.

    Raises:
        RecordError: its array of ECGs is damaged, or what is stated beside it is unreadable.
    """
    module = format_of(path) or format_of_suffix(path)
    if not isinstance(module, StackFormat):
        yield None
        return
    with ExitStack() as opened:
        with naming_faults(path.name, f"valid {module.NAME} file"):
            stack = opened.enter_context(module.open_stack(path, options))
        yield stack


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
            path = Path(folder) / file.name
            if path.suffix.lower() not in READERS:  # whose readers say what is missing
                raise RecordError(f"{file.name}: there is no such file.") from error
        yield path


def _fetch_record(file: RemotePath, folder: Path) -> Path:
    path = remote.fetch(file, folder)
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
    module = format_of(path)
    reader = READERS.get(suffix) if module is None else module.read
    if reader is None:
        raise RecordError(_no_reader(path))
    try:
        with naming_faults(path.name, f"{suffix} file" if module is None else f"valid {module.NAME} file"):
            return reader(path, options)
    except RecordError as error:
        if (reason := why_not_ecg(path, module, options)) is not None:
            raise RecordError(f"{path.name} is not an ECG: {reason}.") from error
        raise


def _no_reader(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder that cannot be read; look at its permissions."
    if glob.has_magic(str(path)) and not path.exists():
        return f"{path}: nothing matches this pattern."
    if not path.exists():
        return f"{path}: there is no such file."
    regular_size(path)
    return f"{path.name}: its content is in no supported format; the formats are {format_names()}."
