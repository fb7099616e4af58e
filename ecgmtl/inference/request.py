"""A request to predict many files with a model and to write tables and reports, and the function that runs it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from data_prep.files import partials_of, remove_abandoned
from data_prep.parallel import OrderedEngine, in_order, n_cores
from data_prep.readers import OtherFile, holds_ecg
from data_prep.share import Share
from ecgmtl.inference.counts import Counts
from ecgmtl.inference.models import name_of
from ecgmtl.inference.options import PredictOptions
from ecgmtl.inference.parts import PredictionJob, load_once, predict_in_parts
from ecgmtl.inference.predict import predict
from ecgmtl.inference.predictor import Predictor, PredictorError
from ecgmtl.inference.result import Failure, Prediction, Result
from ecgmtl.inference.table import Write, format_of, open_predictions, row_of
from ecgmtl.inference.write import SILENT, PredictionCallbacks, count_records, write_share, write_table


class Report(NamedTuple):
    """Report to write. Its page is made by modules above this one."""

    path: Path
    open: Callable[[Predictor, str], AbstractContextManager[Callable[[Result], None]]]
    """Function that opens the report on a predictor, which has this name, and yields a function to add results."""


@dataclass(frozen=True)
class PredictionRequest:
    """A model, the files to predict, and the files to write. Without any of these, predictions are only shown."""

    model: str
    paths: Sequence[str]
    options: PredictOptions = PredictOptions()  # noqa: RUF009, it is frozen
    table: Path | None = None
    """Table to write. With a `share`, it is a folder of parts."""
    share: Share | None = None
    """Share of the parts to write."""
    report: Report | None = None
    engine: OrderedEngine = in_order
    """Function that runs the parts of a table."""
    workers: int = 1
    """Number of processes that predict these parts. 0 means one for each CPU of a cluster."""

    @property
    def report_path(self) -> Path | None:
        return None if self.report is None else self.report.path

    @property
    def written(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.table, self.report_path) if path is not None)

    @property
    def n_threads(self) -> int:
        """Number of threads in which each worker computes: its part of this machine's cores, and one on a cluster."""
        return max(n_cores() // self.workers, 1) if self.engine is in_order else 1

    def require_paths(self) -> None:
        """Raise an error if the table has an unknown suffix, or if it or the report would replace an ECG."""
        if self.table is not None and self.share is None:
            format_of(self.table)
        for path, name, option in ((self.table, "table", "--out"), (self.report_path, "report", "--report")):
            if path is not None and holds_ecg(path, self.options.read):
                raise PredictorError(f"{path} is an ECG, which the {name} would replace; choose another {option}.")


def run_prediction(request: PredictionRequest, callbacks: PredictionCallbacks = SILENT) -> Counts:
    """Predict for all files of a request, and write a table and a report, or show each prediction.

    Failures are rows of the table. They are also reported as they occur.

    Raises:
        PredictionsFileError: the table has an unknown suffix or cannot be written.
        PredictorError: the model does not exist or cannot detect what it should, there is no ECG file, or an ECG would
            be replaced.
        PlaceError: a remote place cannot be reached.
    """
    request.require_paths()
    if request.table is None or request.report is not None:
        return predict_in_batches(request, callbacks)
    return predict_in_processes(request, request.table, callbacks)


def predict_in_processes(request: PredictionRequest, table: Path, callbacks: PredictionCallbacks) -> Counts:
    """Predict part by part, with several processes, what earlier runs have not finished."""
    predictor, digest = load_once(request.model, request.options, request.n_threads)
    callbacks.introduce(request.model, predictor)
    keeps_parts = request.share is not None
    job = PredictionJob(request.model, digest, table, request.options, request.n_threads, keeps_parts)
    predict_parts = partial(predict_in_parts, workers=request.workers, engine=request.engine)
    if request.share is None:
        return write_table(job, request.paths, predict_parts, callbacks)
    return write_share(job, request.share, request.paths, predict_parts, callbacks)


def predict_in_batches(request: PredictionRequest, callbacks: PredictionCallbacks) -> Counts:
    """Predict one batch after the other in this process, for a report or to show the predictions."""
    options, written = request.options, request.written
    predictor = options.load(request.model)
    callbacks.introduce(request.model, predictor)
    for path in written:
        remove_abandoned(path.parent, partials_of(path))
    counts, metadata, bar = Counts(), predictor.metadata, callbacks.bar if written else SILENT.bar
    with (
        open_table(request.table, metadata.label_names) as write,
        open_report(request, predictor) as add,
        bar(lambda: count_records(request.paths, options.read, written)) as advance,
    ):
        keep_signals = request.report is not None
        results = predict(predictor, request.paths, options, written, keep_signals)
        while batch := list(islice(results, options.batch_size)):
            write([row_of(result) for result in batch if not isinstance(result, OtherFile)])
            for result in batch:
                add(result)
                counts.add(result)
                if isinstance(result, Failure):
                    callbacks.fail(str(result.path), result.reason, result.traceback)
                elif isinstance(result, Prediction) and not written:
                    callbacks.show(result, metadata)
            advance(counts.done)
        counts.require_ecgs(request.paths, counts.done)
    return counts


def open_table(table: Path | None, label_names: tuple[str, ...]) -> AbstractContextManager[Write]:
    """Open the table of predictions. Where there is none, its rows are dropped."""
    return nullcontext(lambda _rows: None) if table is None else open_predictions(table, label_names)


def open_report(request: PredictionRequest, predictor: Predictor) -> AbstractContextManager[Callable[[Result], None]]:
    """Open the report. Where there is none, its results are dropped."""
    if request.report is None:
        return nullcontext(lambda _result: None)
    return request.report.open(predictor, name_of(request.model))
