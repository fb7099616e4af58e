"""Preparation of a folder of records, by one process or several jobs, which resumes where it was interrupted."""

import dataclasses
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from data_prep.files import is_partial
from data_prep.leads import STANDARD_LEADS
from data_prep.lock import LOCK
from data_prep.parallel import Engine, in_parallel
from data_prep.places import File
from data_prep.preprocess import Preprocess
from data_prep.progress import ProgressCallback
from data_prep.readers import ReadOptions
from data_prep.share import Share
from data_prep.sources import read_source
from data_prep.sources.tables import Source, listed
from data_prep.store import ledger, locks
from data_prep.store.chunks import Chunk, Preparation, prepare_chunk
from data_prep.store.duplicates import duplicates
from data_prep.store.finish import discard, finish
from data_prep.store.manifest import MANIFEST, PROGRESS, SIGNALS, StoreError, read_failures, write_manifest
from data_prep.store.open import Store, open_store
from data_prep.store.plan import PreparationPlan, not_read, remarked
from data_prep.store.signals_file import SAMPLE, SignalsFile, open_signals_file
from data_prep.words import counted


@dataclass(frozen=True)
class PrepareReport:
    """Result of a preparation."""

    n_records: int
    """Number of records in the prepared folder, or, while that is not complete, of those in the share."""
    failures: tuple[tuple[str, str], ...]
    """(name, reason) of each record that was left out."""
    n_warned: int = 0
    """Number of these records with a text in the column `warnings` of records.csv."""
    n_resumed: int = 0
    """Number of these records that earlier runs or other jobs had prepared."""
    notes: tuple[str, ...] = ()
    """Sentences about decisions that were made on the user's behalf."""
    n_finished: int = 0
    """Number of chunks that are finished, whichever job finished them."""
    n_chunks: int | None = None
    """Number of chunks of a folder that other jobs have to complete. None if it is complete."""


def prepare(
    source: File,
    out: Path,
    preprocess: Preprocess,
    labels: str | None = None,
    workers: int = 1,
    progress: ProgressCallback | None = None,
    options: ReadOptions = ReadOptions(),  # noqa: B008, it is frozen
    engine: Engine = in_parallel,
    share: Share | None = None,
) -> PrepareReport:
    """Prepare the records of `source` in the folder `out`. `labels` names its default label set.

    `options` state what the files do not, as for a prediction. They are kept in the manifest. A record that cannot be
    prepared is left out and reported. After an interruption, the next call with the same settings resumes.

    With a `share`, only its chunks are prepared. Other processes, on any machines, prepare the others in the same
    folder. The one that finds all chunks finished completes the folder, which is then the same as if one had done all.

    Raises:
        SourceError: the records or their tables cannot be used.
        PlaceError: they are remote, and their place cannot be reached.
        StoreError: `out` cannot be written, or holds something else.
        FolderInUseError: another process prepares the folder, or the same share of it.
    """
    records = read_source(source, preprocess.fs)
    records.require_sound()
    labels = labels or records.default_labels
    if labels not in records.label_sets:
        raise StoreError(f"{source}: no label set '{labels}'; choose one of {', '.join(records.label_sets)}.")
    lists_others = share is None or share.index == 1  # one job is enough, since every file is looked at
    records = remarked(records, labels, not_read(records, out, options) if lists_others else ())
    plan = PreparationPlan(records, out, preprocess, options, labels, workers, progress, engine)
    with explaining(plan):
        return prepare_whole(plan) if share is None else prepare_share(plan, share)


def prepare_whole(plan: PreparationPlan) -> PrepareReport:
    """Prepare all chunks that neither this process nor another has finished."""
    with locks.whole(plan.out):
        if is_finished(plan.out):
            return reuse(plan)
        own = ledger.path_of(plan.out, None)
        preparation, done = start(plan)
        chunks = [*done, *prepare_chunks(plan, preparation, plan.firsts, done, own)]
        return conclude(plan, preparation.signals, chunks, n_records(done))


def prepare_share(plan: PreparationPlan, share: Share) -> PrepareReport:
    """Prepare the chunks of a share that are not finished. Complete the folder if it has all others."""
    own = ledger.path_of(plan.out, share)
    with ExitStack() as held:
        with locks.gate(plan.out):
            if is_finished(plan.out):
                return reuse(plan)
            held.enter_context(locks.one_share(plan.out, share))
            preparation = join(plan, share)
        firsts = [first for number, first in enumerate(plan.firsts) if number in share]
        done = done_before(plan, preparation.signals, share, set(firsts))
        ledger.write(own, done)
        chunks = [*done, *prepare_chunks(plan, preparation, firsts, done, own)]
        # the new file is synced, and lets a network file system notice the files of other machines in the folder
        ledger.write(own, chunks)
    report = report_on(plan.source, chunks, n_records(done))
    with locks.gate(plan.out):
        return reuse(plan) if is_finished(plan.out) else complete(plan, preparation, share, report)


def join(plan: PreparationPlan, share: Share) -> Preparation:
    """Begin a folder for jobs, or join it. The caller is in the gate."""
    is_new = require_own(plan.out)
    of_jobs = {"labels": plan.labels, "version": version("ecgmtl")}
    ledger.join(plan.out, {**plan.wanted, **of_jobs}, share)
    return allocated(plan, is_new)


def done_before(plan: PreparationPlan, signals: SignalsFile, share: Share, firsts: Container[int]) -> list[Chunk]:
    """Return those chunks of a share that this job finished before, or a run without shares."""
    chunks = ledger.read_begun(plan.out)[1]
    with suppress(FileNotFoundError):
        chunks += ledger.read_share(ledger.path_of(plan.out, share))
    return ledger.reusable(signals, (chunk for chunk in chunks if chunk.first in firsts))


def complete(plan: PreparationPlan, preparation: Preparation, share: Share, report: PrepareReport) -> PrepareReport:
    """Complete the folder if all chunks are finished and no other job is at work. The caller is in the gate.

    Chunks that are damaged, as after a completion that was killed, are prepared again. `report` is on the share.
    """
    chunks = [*ledger.read_begun(plan.out)[1], *ledger.gather(plan.out, share.n_shares)]
    n_finished = len({chunk.first for chunk in chunks} & set(plan.firsts))
    report = dataclasses.replace(report, n_finished=n_finished, n_chunks=len(plan.firsts))
    if n_finished < len(plan.firsts) or locks.is_in_use(plan.out, share.n_shares):
        return report
    done = ledger.intact(preparation.signals, chunks)
    chunks = [*done, *prepare_chunks(plan, preparation, plan.firsts, done, ledger.path_of(plan.out, share))]
    locks.forget_jobs(plan.out)
    n_new = report.n_records - report.n_resumed
    n_done = n_records(done) - sum(len(chunk.failures) for chunk in done)
    return conclude(plan, preparation.signals, chunks, max(n_done - n_new, 0))


def conclude(plan: PreparationPlan, signals: SignalsFile, chunks: Sequence[Chunk], n_resumed: int) -> PrepareReport:
    """Write the tables and the manifest of a folder whose chunks are all finished.

    Raises:
        StoreError: no record could be prepared. Nothing is left then.
    """
    report = report_on(plan.source, chunks, n_resumed)
    if not report.n_records:
        discard(plan.out)
        name, reason = report.failures[0]
        n_files = len(plan.source.files)
        raise StoreError(f"{plan.source.folder}: none of {n_files} records could be prepared. {name}: {reason}")
    finish(plan.source, signals, chunks, {**plan.wanted, "labels": plan.labels})
    return dataclasses.replace(report, notes=(*report.notes, *duplicates_in(open_store(plan.out))))


def duplicates_in(store: Store) -> list[str]:
    """Return notes on records with the same samples. Each report has them, since a run may end before its own."""
    return listed(tuple(duplicates(store.signals, store.records)))


def is_finished(out: Path) -> bool:
    """Return whether a folder is completely prepared: the manifest is written last."""
    return (out / MANIFEST).is_file()


def reuse(plan: PreparationPlan) -> PrepareReport:
    """Report on a folder that is already prepared with the same settings, and set its default label set."""
    out, source = plan.out, plan.source
    store = open_store(out)
    ledger.require_same(out, store.manifest, plan.wanted)
    if store.default_labels != plan.labels:
        write_manifest(out, {**store.manifest, "labels": plan.labels})
    ledger.remove(out)
    notes, failures = source.notes, read_failures(out)
    lacking = [str(column) for column in source.records if column not in store.records]
    if lacking:
        notes += (f"{out} lacks the column {', '.join(lacking)}; delete it and prepare again to have it.",)
    if failures:
        notes += (f"{counted(len(failures), 'record')} left out; delete {out} to try again.",)
    notes += tuple(duplicates_in(store))
    n_warned = int((store.records["warnings"] != "").sum())
    return PrepareReport(len(store.records), failures, n_warned, len(store.records), notes=notes)


@contextmanager
def explaining(plan: PreparationPlan) -> Iterator[None]:
    """Turn the system's error for a full disk or a killed worker into a StoreError."""
    try:
        yield
    except OSError as error:
        row_bytes = len(STANDARD_LEADS) * plan.preprocess.n_samples * SAMPLE.itemsize
        raise StoreError(
            f"{plan.out}: cannot be written ({error.strerror}); it takes {len(plan.source.files) * row_bytes / 1e6:.1f}"
            " MB. Free some space, or choose another folder. What has been prepared is kept, and the same command "
            "continues from there."
        ) from error
    except BrokenProcessPool as error:
        raise StoreError(
            f"{plan.out}: a worker was killed, perhaps for lack of memory. What is done is kept: run it again to "
            f"continue, with fewer workers if necessary."
        ) from error


def start(plan: PreparationPlan) -> tuple[Preparation, list[Chunk]]:
    """Begin or resume a folder, and return its preparation and the chunks that earlier runs and jobs finished."""
    out, own = plan.out, ledger.path_of(plan.out, None)
    is_new = require_own(out)
    chunks = [] if is_new else ledger.resume(out, plan.wanted)
    if is_new:
        ledger.write(own, (), plan.wanted)
    preparation = allocated(plan, is_new)
    done = ledger.reusable(preparation.signals, chunks)
    ledger.write(own, done, plan.wanted)
    ledger.remove_shares(out)
    return preparation, done


def require_own(out: Path) -> bool:
    """Return whether a folder is new, and not one whose preparation was begun.

    Raises:
        StoreError: it holds other files.
    """
    others = sorted(path.name for path in out.iterdir() if not is_partial(path) and not path.name.startswith(LOCK))
    if others and PROGRESS not in others:
        raise StoreError(f"{out} holds other files ({', '.join(others[:3])}); choose a new or an empty folder.")
    return not others


def allocated(plan: PreparationPlan, is_new: bool) -> Preparation:
    """Return the preparation of a folder after allocating its signals. Where that fails, leave no new folder begun."""
    row_shape = (len(STANDARD_LEADS), plan.preprocess.n_samples)
    try:
        signals = open_signals_file(plan.out / SIGNALS, len(plan.source.files), row_shape)
    except OSError:
        if is_new:
            ledger.remove(plan.out)
        raise
    return Preparation(plan.source.folder, plan.preprocess, signals, plan.options)


def prepare_chunks(
    plan: PreparationPlan, preparation: Preparation, firsts: Sequence[int], done: Sequence[Chunk], own: Path
) -> Iterator[Chunk]:
    """Prepare those chunks that are not `done`, note each in the ledger `own`, and yield it."""
    finished = {chunk.first for chunk in done}
    pieces = [(preparation, first, plan.records_of(first)) for first in firsts if first not in finished]
    n_done, total = n_records(done), sum(len(plan.records_of(first)) for first in firsts)
    with closing(plan.engine(prepare_chunk, pieces, plan.workers)) as results:
        for chunk in results:
            ledger.note(own, chunk)
            n_done += chunk.n_records
            if plan.progress:
                plan.progress(n_done, total)
            yield chunk


def n_records(chunks: Iterable[Chunk]) -> int:
    return sum(chunk.n_records for chunk in chunks)


def report_on(source: Source, chunks: Sequence[Chunk], n_resumed: int) -> PrepareReport:
    names = source.records["name"]
    failed = sorted(failure for chunk in chunks for failure in chunk.failures)
    failures = tuple((str(names[row]), reason) for row, reason in failed)
    n_warned = sum(len(chunk.warnings) for chunk in chunks)
    notes = (*source.notes, *undecided_note(chunks))
    return PrepareReport(n_records(chunks) - len(failures), failures, n_warned, n_resumed, notes=notes)


def undecided_note(chunks: Sequence[Chunk]) -> Iterator[str]:
    """Yield a sentence on the records that a prediction would not decide, as all do in a folder of a wrong rate."""
    codes = [text.split() for chunk in chunks for _, text in chunk.undecided]
    if codes:
        counts = Counter(chain.from_iterable(codes)).most_common()
        yield (
            f"Prediction would make no decision on {len(codes):,} of these records "
            f"({', '.join(f'{code} {count:,}' for code, count in counts)}), but training and evaluation use them. "
            "`ecgmtl data check` names them."
        )
