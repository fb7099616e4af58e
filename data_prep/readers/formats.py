"""The formats that are read. A file's content says which one it has; its suffix counts only if that cannot.

To add a format, write a module with the names of `Format` and put it into FORMATS: one import and one entry. Messages,
folders and the model card follow from that. If the format also holds other things than ECGs, the module has the name
of `GenericFormat` too; if it may hold many ECGs, that of `StackFormat`. `muse.py` is an example in XML. Modules that
are not formats help them: `files`, `xml_tree` and `json_tree` open files safely, `channels` and `columns` make
records, `stack` reads files of many ECGs. A test then asks for a row in docs/own-data.md. Add a writer to FILES of
`tests/vendor_files.py`, too: its file is damaged at random by `tests/fuzz`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

from data_prep.readers import (
    aecg,
    apple,
    atc,
    cardiosoft,
    contec,
    csv,
    dicom,
    edan,
    edf,
    fhir,
    hdf5,
    ishne,
    json_leads,
    kardia,
    mat,
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
from data_prep.readers.files import read_head
from data_prep.readers.options import ReadOptions
from data_prep.readers.stack import Stack
from data_prep.record import Record


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


@runtime_checkable
class GenericFormat(Format, Protocol):
    """A format that holds tables or arrays of any kind."""

    def reason_not_ecg(self, path: Path, options: ReadOptions) -> str | None:
        """Return why a valid file is not an ECG, or None if it may be one."""


@runtime_checkable
class StackFormat(Format, Protocol):
    """A format whose files may hold many ECGs in one array."""

    def open_stack(self, path: Path, options: ReadOptions) -> AbstractContextManager[Stack | None]:
        """Open the array of a file that holds one. Yield None for any other file."""


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
    contec,
    kardia,
    atc,
    fhir,
    json_leads,
    apple,
    mat,
    hdf5,
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
SAMPLE_SUFFIXES = (".dat", ".mat")
"""Suffixes of files that belong to a .hea beside them."""
AMBIGUOUS_SUFFIXES = (*SAMPLE_SUFFIXES, ".txt")
"""Suffixes that files of all kinds have. In a folder, such a file is read only if its content is recognized."""
CERTAIN_SUFFIXES = frozenset(
    suffix for module in FORMATS if not isinstance(module, GenericFormat) for suffix in module.SUFFIXES
).difference(AMBIGUOUS_SUFFIXES)
"""Suffixes of which a file in a folder is read without a look at its content."""


def format_of(path: Path) -> Format | None:
    """Return the format that recognizes a file's content, or None. WFDB finds headers and samples by their names."""
    suffix = path.suffix.lower()
    if suffix in SAMPLE_SUFFIXES and path.with_suffix(".hea").exists():
        return wfdb
    head = read_head(path)
    if suffix == ".hea" and b"\0" not in head:
        return wfdb
    return next((module for module in FORMATS if module.recognizes(head)), None) if head else None


def format_of_suffix(path: Path) -> Format | None:
    """Return the format that alone has a file's suffix, or None."""
    return next((module for module in FORMATS if path.suffix.lower() in module.SUFFIXES), None)


def files_of(path: Path) -> frozenset[Path]:
    """Return the local files that a record is read from: `path`, and what a WFDB header names."""
    return wfdb.files_of(path) if path.suffix.lower() == ".hea" else frozenset({path})


def is_ecg(path: Path) -> bool:
    """Return whether a format recognizes a file by its content."""
    return format_of(path) is not None


def why_not_ecg(path: Path, module: Format | None, options: ReadOptions) -> str | None:
    """Return why a file is not an ECG, where its format, by its content or else its suffix, also holds other things."""
    module = module or format_of_suffix(path)
    return module.reason_not_ecg(path, options) if isinstance(module, GenericFormat) else None


def format_names() -> str:
    """Return the names of all formats, in one line."""
    return ", ".join(module.NAME for module in FORMATS)
