"""Predictions for the files of a request, under the names that the client gave them. Nothing that fails stops it."""

from collections.abc import Generator, Sequence
from pathlib import Path

from data_prep.readers import OtherFile, find_files
from data_prep.readers.other_files import OtherFileKind
from ecgmtl.inference.options import PredictOptions
from ecgmtl.inference.predict import predict_batch
from ecgmtl.inference.predictor import Predictor
from ecgmtl.inference.result import Failure, Prediction, Result, report_bug
from ecgmtl.report_page.card import Card, card
from ecgmtl.serve.uploads import Limits, Upload, store


def predict_uploads(
    predictor: Predictor, uploads: Sequence[Upload], options: PredictOptions, limits: Limits
) -> Generator[Result, None, None]:
    """Yield a result for each record among the files, and each file that holds no ECG."""
    with store(uploads, limits) as stored:
        yield from stored.refused
        for folder in stored.folders:
            ecgs = []
            for file in find_files([folder], options.read):
                if is_tried(file):
                    ecgs.append(file if isinstance(file, Path) else file.path)
                elif isinstance(file, OtherFile):
                    yield stored.renamed(file)
            for start in range(0, len(ecgs), options.batch_size):
                batch = ecgs[start : start + options.batch_size]
                results = predict_batch(predictor, batch, options, keep_signals=True)
                yield from map(stored.renamed, results)


def is_tried(file: Path | OtherFile) -> bool:
    """Return whether to read a file as an ECG. One without a reader is read, too, so that its failure says why."""
    return isinstance(file, Path) or file.kind is OtherFileKind.NO_READER


def make_card(result: Prediction | Failure, predictor: Predictor) -> Card:
    """Return the card of a result. Any error is returned as the failure of its file."""
    try:
        return card(result, predictor)
    except Exception as error:  # noqa: BLE001, one record must not stop the others
        return card(report_bug(result.path, error), predictor)
