"""Check of a folder of records and its tables, before anything is trained on it."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_prep.parallel import in_parallel
from data_prep.preprocess import Preprocess
from data_prep.progress import ProgressCallback
from data_prep.quality import Severity
from data_prep.quality.length import FIT_CODES
from data_prep.readers import OtherFile, ReadOptions, find_files, read_record, summarize
from data_prep.record import Record, RecordError
from data_prep.safe_text import printable
from data_prep.sources import has_table, read_source, require_folder
from data_prep.sources.ptbxl import FILENAME_COLUMN, PTBXL
from data_prep.sources.tables import Source, SourceError, SourceFinding, class_remarks, lies_inside, listed
from data_prep.store.duplicates import digest_of, with_same_samples
from data_prep.words import counted

FILES_A_PIECE = 64
USUAL_SECONDS = 10.0
"""Duration of an ECG, in seconds. A shorter record is reported."""


@dataclass(frozen=True)
class CheckedFile:
    """Result of checking a file. Digest and sampling rate are None if the file could not be read."""

    file: str
    findings: tuple[SourceFinding, ...]
    digest: bytes | None = None
    """Digest of the samples."""
    fs: float | None = None


@dataclass(frozen=True)
class FolderContents:
    """Contents of a folder: the files to read, and what its tables say."""

    files: tuple[str, ...]
    """Records that a table names and that are there, or all records in the folder if it has no table."""
    others: tuple[OtherFile, ...]
    """Files that are not read as ECGs."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Files that a table names and that are not there, with their lines in the table."""
    findings: tuple[SourceFinding, ...] = ()
    """Findings on the tables."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """Findings on a folder."""

    folder: Path
    n_files: int
    findings: tuple[SourceFinding, ...]
    notes: tuple[str, ...] = ()
    """Sentences that say how the columns of the tables are read."""
    others: tuple[OtherFile, ...] = ()
    """Files in the folder that are not read as ECGs."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings of each kind, the most frequent first."""
        return dict(Counter(finding.kind for finding in self.findings).most_common())

    @property
    def is_sound(self) -> bool:
        """Whether there are at most notes."""
        return all(finding.is_note for finding in self.findings)

    def render(self) -> str:
        """Return the report as text: a paragraph for each kind of finding, then the files that are not read."""
        result = "." if not self.is_sound else ", with notes." if self.findings else ", nothing wrong found."
        count = f"{printable(str(self.folder))}: {counted(self.n_files, 'file')} read{result}"
        return "\n".join([*map(printable, self.notes), count, *listed(self.findings), *summarize(self.others)])


def check(
    folder: Path,
    workers: int = 1,
    progress: ProgressCallback | None = None,
    options: ReadOptions = ReadOptions(),  # noqa: B008, it is frozen
) -> CheckReport:
    """Read the tables and every record of a PTB-XL folder, a folder with labels.csv, or any folder of records.

    `options` state what the files do not, as for a prediction.

    Raises:
        SourceError: there is nothing to read.
    """
    contents = list_folder(folder, options)
    files, findings = contents.files, contents.findings
    if not files and not contents.missing:
        reason = findings[0].message if findings else f"{folder}: there is no ECG in it."
        raise SourceError("\n".join([reason, *summarize(contents.others)]))
    pieces = [(folder, files[first : first + FILES_A_PIECE], options) for first in range(0, len(files), FILES_A_PIECE)]
    checked: list[CheckedFile] = []
    with closing(in_parallel(check_files, pieces, workers)) as results:
        for result in results:
            checked += result
            if progress:
                progress(len(checked), len(files))
    order = {file: index for index, file in enumerate(files)}
    checked.sort(key=lambda result: order[result.file])
    in_files = (finding for result in checked for finding in result.findings)
    findings = (*findings, *in_files, *duplicates(checked), *other_rates(checked))
    return CheckReport(folder, len(files), findings, contents.notes, contents.others)


def list_folder(folder: Path, options: ReadOptions) -> FolderContents:
    """Return the files to read and the findings on the tables.

    Raises:
        SourceError: there is no such folder.
    """
    require_folder(folder)
    entries = list(find_files([folder], options))
    records = tuple(path.relative_to(folder).as_posix() for path in entries if isinstance(path, Path))
    others = tuple(entry for entry in entries if isinstance(entry, OtherFile))
    if not has_table(folder):
        return FolderContents(records, others)
    try:
        source = read_source(folder, min(FILENAME_COLUMN))
    except SourceError as error:
        finding = SourceFinding("unusable table", printable(folder.name), str(error))
        return FolderContents(records, others, findings=(finding,))
    return list_source(folder, source, records, tuple(other for other in others if other.path not in source.tables))


def list_source(folder: Path, source: Source, records: Sequence[str], others: tuple[OtherFile, ...]) -> FolderContents:
    """Compare the files that the tables name with the `records` in the folder."""
    named = {file: line for file, line in source.lines.items() if lies_inside(file)}
    missing = {file: line for file, line in named.items() if not os.path.lexists(folder / file)}
    unnamed = sorted(set(records) - set(source.lines))
    classes, notes = ((), ()) if source.problems else class_remarks(source, source.default_labels)
    findings = (
        *source.problems,
        *source.remarks,
        *classes,
        *missing_files(next(iter(source.tables)).name, missing),
        *(file_finding("not in the table", file, f"{file} is there, but no table names it.") for file in unnamed),
    )
    if source.kind != PTBXL:  # whose only note is about the choice of a sampling rate, while a check reads all
        notes = (*source.notes, *notes)
    return FolderContents(tuple(file for file in named if file not in missing), others, missing, findings, notes)


def missing_files(table: str, missing: Mapping[str, int]) -> Iterator[SourceFinding]:
    """Yield records whose file is not there by their line in the table, which is not quoted: it may name a patient."""
    for line in sorted(missing.values()):
        message = f"{table}, line {line}: the file that it names is not there. Correct the name, or copy the file."
        yield SourceFinding("missing file", f"line {line}", message)


def check_files(folder: Path, files: Sequence[str], options: ReadOptions) -> list[CheckedFile]:
    return [check_file(folder, file, options) for file in files]


def check_file(folder: Path, file: str, options: ReadOptions) -> CheckedFile:
    """Read and examine a file, without findings that depend on a model's input alone."""
    try:
        record = read_record(folder / file, replace(options, seconds=USUAL_SECONDS))
    except RecordError as error:
        return CheckedFile(file, (file_finding("unreadable", file, str(error)),))
    examined = preprocess_all(record).examine(record)
    findings = tuple(
        replace(
            file_finding(finding.code, file, f"{file}: {finding.sentence}"), is_note=finding.severity is Severity.NOTE
        )
        for finding in examined.findings
        if finding.code not in FIT_CODES
    )
    return CheckedFile(file, findings, digest_of(record.signal.T), record.fs)


def preprocess_all(record: Record) -> Preprocess:
    """Return the preprocessing that examines all whole seconds of a record as read."""
    n_seconds = math.floor(len(record.signal) / record.fs) if record.fs > 0 else 0
    return Preprocess(seconds=max(USUAL_SECONDS, n_seconds))


def file_finding(kind: str, file: str, message: str) -> SourceFinding:
    """Return a finding about a file whose name may hold line breaks or escape sequences."""
    return SourceFinding(kind, printable(file), printable(message))


def duplicates(checked: Sequence[CheckedFile]) -> Iterator[SourceFinding]:
    """Yield a finding for each record with the same samples as an earlier one."""
    digests = ((result.file, result.digest) for result in checked if result.digest is not None)
    for file, earlier in with_same_samples(digests):
        yield file_finding("duplicate", file, f"{file} holds the same samples as {earlier}.")


def other_rates(checked: Sequence[CheckedFile]) -> Iterator[SourceFinding]:
    """Yield a finding for each record whose sampling rate is not that of most records in the same top folder."""
    rates: defaultdict[str, Counter[float]] = defaultdict(Counter)
    for result in checked:
        if result.fs is not None:
            rates[top_folder(result.file)][result.fs] += 1
    for result in checked:
        if result.fs is None:
            continue
        usual = rates[top_folder(result.file)].most_common(1)[0][0]
        if result.fs != usual:
            message = f"{result.file} has {result.fs:g} samples per second, most others have {usual:g}."
            yield file_finding("other sampling rate", result.file, message)


def top_folder(file: str) -> str:
    return file.split("/")[0] if "/" in file else ""
