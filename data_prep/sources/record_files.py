"""Files of the records that a labels.csv names: which file each record has, and what is wrong with their names."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

import pandas as pd

from data_prep.places import File
from data_prep.readers import READERS
from data_prep.readers.formats import SAMPLE_SUFFIXES
from data_prep.safe_text import printable
from data_prep.sources.cells import lines
from data_prep.sources.folder import Folder, same_accents
from data_prep.sources.tables import SourceFinding, by_line, lies_inside


def plain_record(folder: Folder, record: str) -> str:
    """Return `a/b` for `./a//b`, and for `a\\b` as Windows writes it where no file has that name."""
    if "\\" in record and not any(folder.has_file(record + suffix) for suffix in ("", *READERS)):
        record = record.replace("\\", "/")
    return PurePosixPath(record).as_posix() if record else record


def find_file(folder: Folder, record: str) -> str:
    """Return the record's file, relative to the folder, or the name of a WFDB header if there is none.

    A file whose name encodes accents in another way is the record's, too.
    """
    has_suffix = has_reader(record)
    if (has_suffix and not folder.is_local) or folder.has_file(record):
        return record
    files = [record] if has_suffix else [record + suffix for suffix in READERS]
    found = next((file for file in files if folder.has_file(file)), None) or with_other_accents(folder, files)
    if found is not None:
        return found
    return record if has_suffix else record + (folder.suffix_of_ecg(record) or ".hea")


def with_other_accents(folder: Folder, files: Sequence[str]) -> str | None:
    """Return the first of the files that is there under a name whose accents are encoded in another way, or None."""
    for path in map(PurePosixPath, files):
        for name in folder.names_of(without_suffix(path.as_posix())):
            if same_accents(name) == same_accents(path.name):
                return path.with_name(name).as_posix()
    return None


def has_reader(file: str) -> bool:
    """Return whether a file has the suffix of an ECG."""
    return PurePosixPath(file).suffix.lower() in READERS


def without_suffix(record: str) -> str:
    return record.removesuffix(next((suffix for suffix in READERS if record.lower().endswith(suffix)), ""))


def plain_spelling(name: str) -> str:
    """Return `7` for `007` and `7.0`, and `p7` for `P7`."""
    whole = re.sub(r"^(\d+)[.,]0+$", r"\1", name.casefold())
    return re.sub(r"^0+(?=\d+$)", "", whole)


def files_twice(files: Sequence[str], names: pd.Series, rows: Sequence[int]) -> Iterator[SourceFinding]:
    """Yield files that two records of different names lead to, as `a` and `a.xml` do."""
    name_of = dict(zip(rows, names, strict=True))
    for _, repeated in by_line(pd.Series(files), rows):
        if len({name_of[line] for line in repeated}) > 1:
            where = lines(repeated)
            yield SourceFinding("listed twice", where, f"{where.capitalize()} have the same file.")


def spelled_differently(
    path: File, folder: Folder, files: Sequence[str], rows: Sequence[int]
) -> Iterator[SourceFinding]:
    """Yield a finding on the lines whose file is not there, where another file that no line names has a like name.

    A remote folder, which may refuse to be listed, is not searched.
    """
    if not folder.is_local:
        return
    named = set(files)
    missing = [line for line, file in zip(rows, files, strict=True) if lies_inside(file) and not folder.has_file(file)]
    file_of = dict(zip(rows, files, strict=True))
    unnamed = {
        (beside, plain_spelling(stem)): name
        for beside in {PurePosixPath(file_of[line]).parent for line in missing}
        for stem, names in folder.stems_beside((beside / "any").as_posix()).items()
        for name in names
        if has_reader(name) and (beside / name).as_posix() not in named
    }
    keys = {line: key_of(PurePosixPath(file_of[line])) for line in missing}
    like = [line for line in missing if keys[line] in unnamed]
    if like:
        message = (
            f"{path}, {lines(like)}: no file has this name, but {printable(unnamed[keys[like[0]]])} differs from it "
            "only in leading zeros, '.0', capitals or its suffix. Write the names of the files."
        )
        yield SourceFinding("file spelled differently", lines(like), message)


def key_of(file: PurePosixPath) -> tuple[PurePosixPath, str]:
    return file.parent, plain_spelling(same_accents(without_suffix(file.name)))


def choices(folder: Folder, table: str, records: Iterable[str], files: Sequence[str]) -> Iterator[str]:
    """Yield a sentence on records whose name, without a suffix, several ECG files have."""
    named = set(files)
    others = (
        (file, None if has_reader(record) else other_ecg(folder, record, PurePosixPath(file)))
        for record, file in zip(records, files, strict=True)
    )
    both = [(file, other) for file, other in others if other is not None and other not in named]
    if both:
        read, left = (printable(file) for file in both[0])
        yield (
            f"{table}: several ECG files have the name of a record, in {len(both):,} of {len(files):,} rows: {read} is "
            f"read, and {left} is not, for example. Write the suffix of the file that has the labels."
        )


def other_ecg(folder: Folder, record: str, file: PurePosixPath) -> str | None:
    """Return another ECG file of the record's name, or None. Samples that belong to a header are none."""
    samples = SAMPLE_SUFFIXES if file.suffix.lower() == ".hea" else ()
    others = (file.with_name(name) for name in folder.names_of(record) if name != file.name and has_reader(name))
    return next(
        (
            other.as_posix()
            for other in others
            if other.suffix.lower() not in samples and folder.is_ecg(other.as_posix())
        ),
        None,
    )
