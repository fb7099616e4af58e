"""What is wrong with a folder of records, before anything is trained on it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_prep.dead_leads import find_dead
from data_prep.gaps import fill_gaps
from data_prep.leads import STANDARD_LEADS, derive_limb_leads
from data_prep.lost_voltage import find_loss
from data_prep.parallel import in_parallel
from data_prep.plausible import WIDE, identity_doubts, odd_size
from data_prep.preprocess import RATES, SHORTEST, find_leads
from data_prep.readers import OtherFile, ReadOptions, find_files, read_record, summarize
from data_prep.record import Record, RecordError
from data_prep.safe_text import printable
from data_prep.sources import read_source
from data_prep.sources.labelled_folder import TABLE
from data_prep.sources.ptbxl import DATABASE, FILENAME_COLUMN, read_database
from data_prep.sources.tables import Finding, SourceError, class_remarks, lies_inside, listed

USUAL_SECONDS = 10.0


@dataclass(frozen=True)
class Examined:
    """Result of examining a file, without digest and fs if it could not be read."""

    file: str
    findings: tuple[Finding, ...]
    digest: bytes | None = None
    """Of the samples that were read: two records with the same are the same ECG."""
    fs: float | None = None


def examine_files(folder: Path, files: Sequence[str], options: ReadOptions) -> list[Examined]:
    return [examine(folder, file, options) for file in files]


def examine(folder: Path, file: str, options: ReadOptions) -> Examined:
    try:
        record = read_record(folder / file, replace(options, seconds=USUAL_SECONDS))
    except RecordError as error:
        kind = "unreadable" if (folder / file).exists() else "missing file"
        return Examined(file, (finding_of(kind, file, str(error)),))
    findings = tuple(finding_of(kind, file, f"{file}: {message}") for kind, message in oddities(record))
    digest = hashlib.blake2b(record.signal.T.tobytes(), digest_size=16).digest()
    return Examined(file, findings, digest, record.fs)


def finding_of(kind: str, file: str, message: str) -> Finding:
    """Return a finding about a file whose name may hold line breaks or escape sequences."""
    return Finding(kind, printable(file), printable(message))


def oddities(record: Record) -> Iterator[tuple[str, str]]:
    """Yield (kind, message) for all that is odd about a record. Gaps prevent the checks that need every sample."""
    for warning in record.warnings:
        yield "remark of the reader", warning
    yield from odd_length(record)
    columns = find_leads(record.leads)
    for lead, found in columns.items():
        if len(found) > 1:
            yield "lead twice", f"lead {lead} occurs more than once ({', '.join(record.leads[at] for at in found)})."
    leads = {lead: record.signal[:, found[0]] for lead, found in columns.items()}
    yield from odd_leads(leads)
    yield from odd_values(record, leads)


def odd_length(record: Record) -> Iterator[tuple[str, str]]:
    if not RATES[0] <= record.fs <= RATES[1]:
        yield "odd sampling rate", f"{record.fs:g} Hz is no ECG's; {RATES[0]:g} to {RATES[1]:g} Hz are read."
    seconds = record.seconds
    if seconds < SHORTEST:
        yield "too short", f"lasts {seconds:.3g} s; at least {SHORTEST:g} s are needed."
    elif seconds < USUAL_SECONDS:
        yield "short", f"lasts {seconds:.3g} s; what is missing to {USUAL_SECONDS:g} s would be filled with zeros."


def odd_leads(leads: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    missing = [lead for lead in STANDARD_LEADS if lead not in leads]
    if not missing:
        return
    derivable = [lead for lead in missing if lead in derive_limb_leads(dict(leads))]
    lost = [lead for lead in missing if lead not in derivable]
    if lost:
        yield "missing leads", f"no lead {', '.join(lost)}; a record needs all twelve."
    if derivable:
        yield "leads to derive", f"no lead {', '.join(derivable)}; computed from the other limb leads."


def odd_values(record: Record, leads: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    if not leads:
        return
    names, gaps = tuple(leads), list[str]()
    signal = fill_gaps(names, np.stack(list(leads.values())), record.fs, gaps)
    for gap in gaps:
        yield "missing samples", gap
    bad = (~np.isfinite(signal)).sum(axis=1)
    if bad.any():
        counts = ", ".join(f"{count} of lead {name}" for name, count in zip(names, bad, strict=True) if count)
        yield "not a number", f"of {len(record.signal)} samples, {counts} are not numbers."
        return
    dead = find_dead(names, signal, record.fs)
    if dead:
        yield "dead lead", f"lead {', '.join(dead)} dead (flat, or noise of microvolts)."
    alive = {lead: row for lead, row in zip(names, signal, strict=True) if lead not in dead}
    living = np.stack(list(alive.values()))
    if loss := find_loss(living, record.calibrated):
        yield "lost voltage", f"{loss.reason}."
        return
    spans = np.ptp(living, axis=1)
    if reason := odd_size(tuple(alive), spans, record.unit):
        yield "odd unit", reason
    elif spans.max() > WIDE:
        lead = tuple(alive)[int(spans.argmax())]
        yield "odd unit", f"lead {lead} spans {spans.max():.4g} mV; is its unit right, or was an electrode off?"
    for doubt in identity_doubts(alive):
        yield "lead identity violated", doubt


FILES_A_PIECE = 64


@dataclass(frozen=True)
class CheckReport:
    """Findings on a folder."""

    folder: Path
    n_files: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    """What the tables are taken for, a sentence each."""
    others: tuple[OtherFile, ...] = ()
    """Files in the folder that are not read as ECGs."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings of each kind, the most frequent first."""
        return dict(Counter(finding.kind for finding in self.findings).most_common())

    def render(self) -> str:
        """Return the report as text: a paragraph a kind of finding, then the files that were not read."""
        result = "." if self.findings else ", nothing wrong found."
        count = f"{printable(str(self.folder))}: {self.n_files:,} files read{result}"
        return "\n".join([*map(printable, self.notes), count, *listed(self.findings), *summarize(self.others)])


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
    files, others, findings, notes = list_files(folder, options)
    if not files:
        reason = findings[0].message if findings else f"{folder}: no ECG is there."
        raise SourceError("\n".join([reason, *summarize(others)]))
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
    return CheckReport(folder, len(files), (*findings, *duplicates(examined), *odd_rates(examined)), notes, others)


def list_files(
    folder: Path, options: ReadOptions
) -> tuple[list[str], tuple[OtherFile, ...], list[Finding], tuple[str, ...]]:
    """Return the records that the tables name, or all in the folder, its other files, findings on the tables, notes."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: {'that is no folder' if folder.exists() else 'no such folder'}.")
    there = list(find_files([folder], options))
    records = [path.relative_to(folder).as_posix() for path in there if isinstance(path, Path)]
    others = tuple(other for other in there if isinstance(other, OtherFile))
    if not (folder / DATABASE).is_file() and not (folder / TABLE).is_file():
        return records, others, [], ()
    try:
        source = read_source(folder, min(FILENAME_COLUMN))
        is_ptbxl = (folder / DATABASE).is_file()
        named = named_by_ptbxl(folder) if is_ptbxl else list(source.files)
    except SourceError as error:
        return records, others, [Finding("unusable table", printable(folder.name), str(error))], ()
    others = tuple(other for other in others if other.path not in source.tables)
    strays = sorted(set(records) - set(named))
    more = [finding_of("not in the table", file, f"{file} is there, but no table names it.") for file in strays]
    readable = [file for file in dict.fromkeys(named) if lies_inside(file)]
    classes, notes = ((), ()) if source.problems else class_remarks(source, source.default_labels)
    findings = [*source.problems, *source.remarks, *classes, *more]
    return readable, others, findings, (*(() if is_ptbxl else source.notes), *notes)


def named_by_ptbxl(folder: Path) -> list[str]:
    """Return the files of both sampling rates whose folders are there."""
    database = read_database(folder)
    names = [name for column in FILENAME_COLUMN.values() for name in database[column]]
    present = {child.name for child in folder.iterdir() if child.is_dir()}
    return [f"{name}.hea" for name in names if name.split("/")[0] in present]


def duplicates(examined: Sequence[Examined]) -> Iterator[Finding]:
    """Yield records whose samples are those of an earlier one."""
    first: dict[bytes, str] = {}
    for one in examined:
        if one.digest is None:
            continue
        earlier = first.setdefault(one.digest, one.file)
        if earlier != one.file:
            yield finding_of("duplicate", one.file, f"{one.file} holds the very samples of {earlier}.")


def odd_rates(examined: Sequence[Examined]) -> Iterator[Finding]:
    """Yield records whose sampling rate is not that of most in the same top folder."""
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
            yield finding_of("other sampling rate", one.file, message)


def top(file: str) -> str:
    return file.split("/")[0] if "/" in file else ""
