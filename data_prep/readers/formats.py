"""The formats that are read. A file's content says which one it has; its suffix counts only if that cannot.

To add a format, write a module with the names of `Format` and put it into FORMATS: one import and one entry. Messages,
folders and the model card follow from that. `muse.py` is an example in XML. Modules that are not formats help them:
`files`, `xml_tree` and `json_tree` open files safely, `channels` and `columns` make records, `stack` reads files of
many ECGs. A test then asks for a row in docs/own-data.md. Add a writer to FILES of `tests/vendor_files.py`, too: its
file is damaged at random by `tests/fuzz`.
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
from data_prep.readers.other_files import reason_not_ecg
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
GENERIC: dict[Format, Callable[[Path, ReadOptions], str | None]] = {
    npz: reason_not_ecg,
    csv: reason_not_ecg,
    mat: mat.reason_not_ecg,
    hdf5: hdf5.reason_not_ecg,
    npy_file: npy_file.reason_not_ecg,
    parquet: parquet.reason_not_ecg,
}
"""Formats that hold tables or arrays of any kind, and for each a function that says why a valid file is not an ECG."""
STACKS: dict[Format, Callable[[Path, ReadOptions], AbstractContextManager[Stack | None]]] = {
    hdf5: hdf5.open_stack,
    npz: npz.open_stack,
    npy_file: npy_file.open_stack,
}
"""Formats whose files may hold many ECGs in one array, and for each a function that opens it."""
SAMPLE_SUFFIXES = (".dat", ".mat")
"""Suffixes of files that belong to a .hea beside them."""
AMBIGUOUS_SUFFIXES = (*SAMPLE_SUFFIXES, ".txt")
"""Suffixes that files of all kinds have. In a folder, such a file is read only if its content is recognized."""
CERTAIN_SUFFIXES = frozenset(
    suffix for module in FORMATS if module not in GENERIC for suffix in module.SUFFIXES
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
    return GENERIC[module](path, options) if module in GENERIC else None


def format_names() -> str:
    """Return the names of all formats, in one line."""
    return ", ".join(module.NAME for module in FORMATS)
