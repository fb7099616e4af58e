"""Predictions for all files that paths name, written part by part: into one table, or one share of a folder."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import NamedTuple

from data_prep.readers import OtherFile, ReadOptions, find_files
from data_prep.share import Share
from ecgmtl.inference.counts import Counts
from ecgmtl.inference.metadata import ModelMetadata
from ecgmtl.inference.parts import (
    Piece,
    PredictionJob,
    Receipt,
    discard,
    finish,
    partial_folder,
    partial_table,
    pieces_of,
)
from ecgmtl.inference.predictor import Predictor
from ecgmtl.inference.result import Prediction
from ecgmtl.inference.shares import FileList, count_finished, refuse_other_files, require_kept, shared_folder

PredictParts = Callable[[PredictionJob, Iterable[Piece]], Generator[Receipt, None, None]]
"""Function that predicts parts, as `predict_in_parts` does."""
Bar = Callable[[Callable[[], int]], AbstractContextManager[Callable[[int], None]]]
"""Function that opens a bar for as many records as another one counts, and yields one to call with those done."""


class PredictionCallbacks(NamedTuple):
    """Callbacks by which a prediction reports its progress. The command line displays it."""

    introduce: Callable[[str, Predictor], None]
    """Called with the model, as the user gave it, once it is loaded."""
    bar: Bar
    show: Callable[[Prediction, ModelMetadata], None]
    """Called with each prediction if no file is written."""
    fail: Callable[[str, str, str], None]
    """Path, reason and traceback of each failure."""
    say: Callable[[str], None]


SILENT = PredictionCallbacks(
    lambda *_: None, lambda _: nullcontext(lambda _: None), lambda *_: None, lambda *_: None, lambda _: None
)
"""Callbacks that display nothing."""


def write_table(
    job: PredictionJob, paths: Sequence[str], predict_parts: PredictParts, progress: PredictionCallbacks
) -> Counts:
    """Predict into parts, and join them into a table. Parts that an interrupted run has finished are kept.

    Raises:
        PredictorError: there is no ECG at `paths`, or a worker process was killed.
        PlaceError: a remote place cannot be reached.
        PredictionsFileError: the table or its folder cannot be written.
        FolderInUseError: another process writes this table.
    """
    counts, read, written = Counts(), job.options.read, (job.out, partial_folder(job.out))
    with (
        partial_table(job) as differences,
        progress.bar(lambda: count_records(paths, read, written)) as advance,
    ):
        if differences:
            reason = f"an interrupted run had a different value of {', '.join(differences)}"
            progress.say(f"{job.out}: starts over, because {reason}")
        files = counts.only_records(find_files(paths, read, written))
        count_parts(predict_parts(job, pieces_of(job, files)), counts, advance, progress)
        if not counts.n_parts:
            discard(job)
        counts.require_ecgs(paths, counts.n_parts)
        finish(job, counts.n_parts)
    return counts


def write_share(
    job: PredictionJob, share: Share, paths: Sequence[str], predict_parts: PredictParts, progress: PredictionCallbacks
) -> Counts:
    """Predict one share of a folder of parts.

    Raises:
        PredictorError: there is no ECG at `paths`, or a worker process was killed.
        PlaceError: a remote place cannot be reached.
        PredictionsFileError: the folder is of other predictions or holds something else, or it cannot be written.
        FolderInUseError: another process writes this share.
    """
    counts = Counts()
    refuse_other_files(job.folder)  # which are not listed as input
    file_list = FileList.of(job, counts.only_records(find_files(paths, job.options.read, (job.out,))), share)
    counts.require_ecgs(paths, file_list.n_files)
    with shared_folder(job, file_list, share), progress.bar(lambda: file_list.n_files_of_share) as advance:
        count_parts(predict_parts(job, file_list.pieces), counts, advance, progress)
        require_kept(job, file_list)
    progress.say(f"{count_finished(job)} of {file_list.n_parts} parts are finished")
    return counts


def count_parts(
    receipts: Generator[Receipt, None, None],
    counts: Counts,
    advance: Callable[[int], None],
    progress: PredictionCallbacks,
) -> None:
    """Count the results of parts as they are predicted, and report their failures."""
    with closing(receipts):
        for receipt in receipts:
            counts.add_part(receipt)
            for failure in receipt.failures:
                progress.fail(*failure)
            advance(counts.done)


def count_records(paths: Sequence[str], options: ReadOptions, written: Sequence[Path]) -> int:
    """Return the number of records that `paths` name, read with these options, without the files that are written."""
    return sum(not isinstance(file, OtherFile) for file in find_files(paths, options, written))
