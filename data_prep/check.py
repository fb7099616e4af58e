"""What is wrong with a folder of records, before anything is trained on it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from data_prep.examine import Examined, examine_files
from data_prep.labelled_folder import TABLE
from data_prep.parallel import in_parallel
from data_prep.ptbxl import DATABASE, FILENAME_COLUMN, read_database
from data_prep.readers import ReadOptions, find_records
from data_prep.source import read_source
from data_prep.tables import Finding, SourceError, class_remarks, lies_inside, listed

FILES_A_PIECE = 64


@dataclass(frozen=True)
class CheckReport:
    """All that was found in a folder."""

    folder: Path
    n_files: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    """What the tables are taken for, a sentence each."""

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each kind, the most frequent first."""
        return dict(Counter(finding.kind for finding in self.findings).most_common())

    def render(self) -> str:
        """The report as text: a paragraph a kind, with the first of its names and what the first one is about."""
        if not self.findings:
            return "\n".join([*self.notes, f"{self.folder}: {self.n_files:,} files read, nothing wrong found."])
        return "\n".join([*self.notes, f"{self.folder}: {self.n_files:,} files read.", *listed(self.findings)])


def check(
    folder: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    options: ReadOptions = ReadOptions(),  # noqa: B008, it is frozen
) -> CheckReport:
    """Read the tables and every record of a PTB-XL folder, a folder with labels.csv, or any folder of records.

    `options` say what the files do not, as for a prediction.

    Raises SourceError only if there is nothing to read.
    """
    files, findings, notes = list_files(folder)
    if not files:
        raise SourceError(findings[0].message if findings else f"{folder}: no ECG is there.")
    examined: list[Examined] = []
    pieces = [(folder, files[first : first + FILES_A_PIECE], options) for first in range(0, len(files), FILES_A_PIECE)]
    with closing(in_parallel(examine_files, pieces, workers)) as results:
        for result in results:
            examined += result
            if progress:
                progress(len(examined), len(files))
    order = {file: index for index, file in enumerate(files)}
    examined.sort(key=lambda one: order[one.file])
    findings += [finding for one in examined for finding in one.findings]
    return CheckReport(folder, len(files), (*findings, *duplicates(examined), *odd_rates(examined)), notes)


def list_files(folder: Path) -> tuple[list[str], list[Finding], tuple[str, ...]]:
    """Every file that the folder's tables name, or every record in it, what is wrong with the tables, and notes."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: {'that is no folder' if folder.exists() else 'no such folder'}.")
    found = [path.relative_to(folder).as_posix() for path in find_records([folder])]
    if not (folder / DATABASE).is_file() and not (folder / TABLE).is_file():
        return found, [], ()
    try:
        source = read_source(folder, min(FILENAME_COLUMN))
        is_ptbxl = (folder / DATABASE).is_file()
        named = named_by_ptbxl(folder) if is_ptbxl else list(source.files)
    except SourceError as error:
        return found, [Finding("unusable table", folder.name, str(error))], ()
    strays = sorted(set(found) - set(named))
    more = [Finding("not in the table", file, f"{file} is there, but no table names it.") for file in strays]
    readable = [file for file in dict.fromkeys(named) if lies_inside(file)]
    classes, notes = ((), ()) if source.problems else class_remarks(source, source.default_labels)
    return readable, [*source.problems, *source.remarks, *classes, *more], (*(() if is_ptbxl else source.notes), *notes)


def named_by_ptbxl(folder: Path) -> list[str]:
    """The files of both sampling rates, as far as their folders are there."""
    database = read_database(folder)
    names = [name for column in FILENAME_COLUMN.values() for name in database[column]]
    present = {child.name for child in folder.iterdir() if child.is_dir()}
    return [f"{name}.hea" for name in names if name.split("/")[0] in present]


def duplicates(examined: Sequence[Examined]) -> Iterator[Finding]:
    """Records whose samples are those of an earlier one."""
    first: dict[bytes, str] = {}
    for one in examined:
        if one.digest is None:
            continue
        earlier = first.setdefault(one.digest, one.file)
        if earlier != one.file:
            yield Finding("duplicate", one.file, f"{one.file} holds the very samples of {earlier}.")


def odd_rates(examined: Sequence[Examined]) -> Iterator[Finding]:
    """Records whose sampling rate is not that of most in the same top folder."""
    rates: defaultdict[str, Counter[float]] = defaultdict(Counter)
    for one in examined:
        if one.fs is not None:
            rates[top(one.file)][one.fs] += 1
    for one in examined:
        if one.fs is None:
            continue
        usual = rates[top(one.file)].most_common(1)[0][0]
        if one.fs != usual:
            message = f"{one.file} has {one.fs:g} samples a second, most others {usual:g}."
            yield Finding("other sampling rate", one.file, message)


def top(file: str) -> str:
    return file.split("/")[0] if "/" in file else ""
