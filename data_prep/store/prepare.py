"""Preparation of a folder of records, in parallel, which resumes where an interrupted run stopped."""

import dataclasses
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep.files import file_sha256, is_partial, write_text
from data_prep.leads import STANDARD_LEADS
from data_prep.lock import LOCK
from data_prep.parallel import in_parallel
from data_prep.preprocess import Preprocess
from data_prep.readers import OtherFile, ReadOptions, find_files, summarize
from data_prep.sources import read_source
from data_prep.sources.tables import Source, class_remarks, listed
from data_prep.store import ledger
from data_prep.store.chunks import RECORDS_A_CHUNK, Chunk, Job, prepare_chunk
from data_prep.store.manifest import (
    FORMAT,
    LOST_VOLTAGE,
    MANIFEST,
    PROGRESS,
    RECORDS,
    SIGNALS,
    StoreError,
    read_failures,
    write_failures,
    write_manifest,
)
from data_prep.store.open import open_store
from data_prep.store.signals_file import SAMPLE, open_signals_file

Progress = Callable[[int, int], None]
"""Callback that takes the number of finished records and of all records."""
Engine = Callable[[Callable[..., Any], Sequence[tuple[object, ...]], int], Generator[Any, None, None]]
"""Function that yields the results of another one for pieces of work, computed by so many workers, in any order."""


@dataclass(frozen=True)
class PrepareReport:
    """Result of a preparation."""

    n_records: int
    """Number of records in the prepared folder."""
    failures: tuple[tuple[str, str], ...]
    """(name, reason) of each record that was left out."""
    n_warned: int = 0
    """Number of records with a text in the column `warnings` of records.csv."""
    n_resumed: int = 0
    """Number of records that an earlier, interrupted run had prepared."""
    reused: bool = False
    """Whether the folder was already prepared and nothing was done."""
    notes: tuple[str, ...] = ()
    """Sentences about decisions that were made on the user's behalf."""


def prepare(
    source: Path,
    out: Path,
    preprocess: Preprocess,
    labels: str | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    options: ReadOptions = ReadOptions(),  # noqa: B008, it is frozen
    engine: Engine = in_parallel,
) -> PrepareReport:
    """Prepare the records of `source` in the folder `out`. `labels` names its default label set.

    `options` state what the files do not, as for a prediction. They are kept in the manifest. A record that cannot be
    prepared is left out and reported. After an interruption, the next call with the same settings resumes.

    Raises:
        SourceError: the records or their tables cannot be used.
        StoreError: `out` cannot be written, or holds something else.
    """
    records = read_source(source, preprocess.fs)
    records.require_sound()
    labels = labels or records.default_labels
    if labels not in records.label_sets:
        raise StoreError(f"{source}: no label set '{labels}'; there are {', '.join(records.label_sets)}.")
    records = remarked(records, labels, not_read(records, out, options))
    wanted = {"preprocess": plain(preprocess), "read": stated(options), "source": identity(records)}
    with explaining(out, records, preprocess), ledger.claimed(out):
        if (out / MANIFEST).is_file():
            return reuse(out, wanted, labels, records)
        job, done = start(records, out, preprocess, options, wanted)
        chunks = [*done, *convert(records, job, done, workers, progress, engine)]
        report = report_on(records, chunks, n_records(done))
        if not report.n_records:
            discard(out)
            name, reason = report.failures[0]
            raise StoreError(f"{source}: not one of {len(records.files)} records could be prepared. {name}: {reason}")
        finish(records, job, chunks, {**wanted, "labels": labels})
    return report


def not_read(source: Source, out: Path, options: ReadOptions) -> list[str]:
    """Return a line for each kind of file in the source folder that is not read, except tables in use."""
    others = [file for file in find_files([source.folder], options) if isinstance(file, OtherFile)]
    paths = {other: Path(str(other.path)) for other in others}
    return summarize([other for other, path in paths.items() if path not in source.tables and out not in path.parents])


def remarked(source: Source, labels: str, more: Sequence[str]) -> Source:
    """Return the source with its remarks, those on the default labels, and `more` added to its notes."""
    findings, notes = class_remarks(source, labels)
    remarks = listed([*source.remarks, *findings])
    return dataclasses.replace(source, notes=(*source.notes, *notes, *remarks, *more))


def identity(source: Source) -> dict[str, str]:
    return {"kind": source.kind, "name": source.folder.resolve().name, "sha256": source.sha256()}


def plain(settings: Preprocess | ReadOptions) -> dict[str, Any]:
    """Return the settings as JSON restores them."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def stated(options: ReadOptions) -> dict[str, Any]:
    """Return the options that describe the files. How much of a file is read follows from the preprocessing."""
    return {name: value for name, value in plain(options).items() if name != "seconds"}


def reuse(out: Path, wanted: Mapping[str, Any], labels: str, source: Source) -> PrepareReport:
    """Report on a folder that is already prepared with the same settings, and set its default label set."""
    store = open_store(out)
    ledger.require_same(out, store.manifest, wanted)
    if store.default_labels != labels:
        write_manifest(out, {**store.manifest, "labels": labels})
    (out / PROGRESS).unlink(missing_ok=True)
    notes, failures = source.notes, read_failures(out)
    lacking = [str(column) for column in source.records if column not in store.records]
    if lacking:
        notes += (f"{out} lacks the column {', '.join(lacking)}; delete it and prepare again to have it.",)
    if failures:
        notes += (f"{len(failures)} records were left out; delete {out} to try again.",)
    n_warned = int((store.records["warnings"] != "").sum())
    return PrepareReport(len(store.records), failures, n_warned, len(store.records), reused=True, notes=notes)


@contextmanager
def explaining(out: Path, source: Source, preprocess: Preprocess) -> Iterator[None]:
    """Turn the system's error for a full disk or a killed worker into a StoreError."""
    try:
        yield
    except OSError as error:
        megabytes = len(source.files) * len(STANDARD_LEADS) * preprocess.n_samples * SAMPLE.itemsize / 1e6
        raise StoreError(
            f"{out}: cannot be written ({error.strerror}); it takes {megabytes:.1f} MB. Make room, or choose another "
            "folder. What is prepared already is kept, and the same command continues from there."
        ) from error
    except BrokenProcessPool as error:
        raise StoreError(
            f"{out}: a worker was killed, perhaps for lack of memory. What is done is kept: run it again to "
            f"continue, with fewer workers if necessary."
        ) from error


def start(
    source: Source, out: Path, preprocess: Preprocess, options: ReadOptions, wanted: Mapping[str, Any]
) -> tuple[Job, list[Chunk]]:
    """Allocate the signals on disk, and return the job and the chunks that an earlier run finished."""
    others = sorted(path.name for path in out.iterdir() if not is_partial(path) and path.name != LOCK)
    if others and PROGRESS not in others:
        raise StoreError(f"{out} holds other files ({', '.join(others[:3])}); choose a new or an empty folder.")
    chunks = ledger.resume(out, wanted) if others else []
    ledger.start(out, wanted)
    try:
        signals = open_signals_file(out / SIGNALS, len(source.files), (len(STANDARD_LEADS), preprocess.n_samples))
    except OSError:
        (out / PROGRESS).unlink()
        raise
    job = Job(source.folder, preprocess, signals, options)
    done = ledger.reusable(job, chunks)
    for chunk in done:
        ledger.note(out, chunk)
    return job, done


def convert(
    source: Source, job: Job, done: Sequence[Chunk], workers: int, progress: Progress | None, engine: Engine
) -> Iterator[Chunk]:
    """Prepare the unfinished chunks, note each in the ledger, and yield it."""
    finished = {chunk.first for chunk in done}
    firsts = [first for first in range(0, len(source.files), RECORDS_A_CHUNK) if first not in finished]
    pieces = [(job, first, source.files[first : first + RECORDS_A_CHUNK]) for first in firsts]
    n_done = n_records(done)
    with closing(engine(prepare_chunk, pieces, workers)) as results:
        for chunk in results:
            ledger.note(job.signals.path.parent, chunk)
            n_done += chunk.n_records
            if progress:
                progress(n_done, len(source.files))
            yield chunk


def n_records(chunks: Sequence[Chunk]) -> int:
    return sum(chunk.n_records for chunk in chunks)


def report_on(source: Source, chunks: list[Chunk], n_resumed: int) -> PrepareReport:
    names = source.records["name"]
    failed = sorted(failure for chunk in chunks for failure in chunk.failures)
    failures = tuple((str(names[row]), reason) for row, reason in failed)
    n_warned = sum(len(chunk.warnings) for chunk in chunks)
    return PrepareReport(len(source.files) - len(failures), failures, n_warned, n_resumed, notes=source.notes)


def finish(source: Source, job: Job, chunks: list[Chunk], entries: Mapping[str, Any]) -> None:
    """Remove the rows of failures, then write the tables, and the manifest last."""
    out = job.signals.path.parent
    failures = dict(failure for chunk in chunks for failure in chunk.failures)
    kept = [row for row in source.records.index if row not in failures]
    job.signals.close(kept, len(source.files))
    warnings = dict(warning for chunk in chunks for warning in chunk.warnings)
    losses = dict(loss for chunk in chunks for loss in chunk.losses)
    remarks = {"warnings": warnings, LOST_VOLTAGE: losses}
    texts = {column: [by_row.get(row, "") for row in source.records.index] for column, by_row in remarks.items()}
    records = source.records.assign(**texts).loc[kept]
    write_text(out / RECORDS, records.to_csv(index=False))
    write_failures(out, [(source.records["name"][row], failures[row]) for row in sorted(failures)])
    manifest = {
        "format": FORMAT,
        "version": version("ecgmtl"),
        **entries,
        "n_records": len(kept),
        "n_failures": len(failures),
        "signals": {"shape": [len(kept), *job.signals.row_shape], "unit": "µV", "leads": STANDARD_LEADS},
        "label_sets": dict(source.label_sets),
        "columns": {name: column_kind(records[name]) for name in records.columns},
        "sha256": {name: file_sha256(out / name) for name in (SIGNALS, RECORDS)},
    }
    write_manifest(out, manifest)
    (out / PROGRESS).unlink()


def column_kind(column: pd.Series) -> str:
    return {"i": "int", "f": "float"}.get(column.dtype.kind, "str")


def discard(out: Path) -> None:
    for name in (SIGNALS, PROGRESS):
        (out / name).unlink()
