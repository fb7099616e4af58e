"""Predictions for ECG files, which are read in batches. A file that fails does not stop the others."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from data_prep.places import AnyPath, File, PlaceError
from data_prep.quality import Finding, QualityError
from data_prep.readers import OtherFile, ReadOptions, find_files, open_recording, read_record
from data_prep.record import Record, RecordError, Recording
from ecgmtl.inference.metadata import ModelMetadata
from ecgmtl.inference.options import BATCH, PredictOptions
from ecgmtl.inference.predictor import Predictor
from ecgmtl.inference.result import NO_DECISION, Failure, Prediction, Result, fail, fail_undecided, report_bug
from ecgmtl.inference.unlike_training import check_typicality
from ecgmtl.inference.windows import (
    RecordSignals,
    Window,
    count_windows,
    is_longer,
    pick_best,
    prepare_windows,
    summarize_findings,
)
from ecgmtl.metrics.sigmoid import logit, sigmoid

TINY = 1e-12
"""Smallest mean probability that is calibrated, since the logit of 0 is infinite."""
NOT_FINITE = (
    "the model's output for this record is not a finite number. The model is probably damaged, or its training "
    "diverged; use another copy of it, or train it again."
)


LARGEST_RMSE = 1.0
"""Largest reconstruction error, in mV, with which a decision is made.

With the recipe's model it is 0.90 or less in 3,835 records of PTB-XL (median 0.15, and 0.51 or less in 99.5 %). Copies
whose leads are ten times too large are above as follows:

================  ======  =======
ten times         copies  above
================  ======  =======
all leads         116     96 %
the chest leads   120     88 %
the limb leads    120     31 %
V3                120     22 %
================  ======  =======
"""


def predict(
    predictor: Predictor,
    paths: AnyPath | Iterable[AnyPath],
    options: PredictOptions = PredictOptions(),  # noqa: B008, it is frozen
    leave_out: Iterable[Path] = (),
    keep_signals: bool = False,
) -> Iterator[Result]:
    """Yield a result for each record, in the order of the files, and each other file in the folders among `paths`.

    Memory holds one batch at a time. `leave_out` names files that results are written to. `keep_signals` adds to each
    prediction the signals that it was made from.

    Raises:
        PlaceError: a remote place cannot be reached.
    """
    files = find_files(paths, options.read, leave_out)
    while batch := list(islice(files, options.batch_size)):
        yield from (other for other in batch if isinstance(other, OtherFile))
        ecgs = [file for file in batch if not isinstance(file, OtherFile)]
        yield from predict_batch(predictor, ecgs, options, keep_signals)


def predict_records(
    predictor: Predictor,
    records: Iterable[Record],
    options: PredictOptions = PredictOptions(),  # noqa: B008, it is frozen
) -> Iterator[Prediction | Failure]:
    """Yield a result for each record that was read already. The path of a result is the record's name."""
    remaining = iter(records)
    while batch := list(islice(remaining, options.batch_size)):
        yield from predict_batch(predictor, batch, options)


def predict_batch(
    predictor: Predictor,
    ecgs: Sequence[File | Record],
    options: PredictOptions = PredictOptions(),  # noqa: B008, it is frozen
    keep_signals: bool = False,
) -> Iterator[Prediction | Failure]:
    """Read, prepare and classify ECGs at once, and yield a result for each."""
    if options.window is Window.ALL:  # one by one, because a recording may have thousands of windows
        results = (predict_windows(predictor, ecg, options.read, keep_signals) for ecg in ecgs)
        return judge(results, options)
    return judge(classify_batch(predictor, prepare_batch(predictor, ecgs, options), keep_signals), options)


def predict_batches(
    predictor: Predictor, batches: Iterable[Sequence[File]], options: PredictOptions
) -> Iterator[Prediction | Failure]:
    """Yield a result for each file of the batches. A thread reads the next batch while the model computes."""
    if options.window is Window.ALL:
        for batch in batches:
            yield from predict_batch(predictor, batch, options)
        return
    with ThreadPoolExecutor(1) as reader:
        for items in reader.map(lambda batch: prepare_batch(predictor, batch, options), batches):
            yield from judge(classify_batch(predictor, items), options)


def judge(results: Iterator[Prediction | Failure], options: PredictOptions) -> Iterator[Prediction | Failure]:
    """Return the results. If `options.strict`, a record without a decision is a failure."""
    return map(fail_undecided, results) if options.strict else results


def prepare_batch(
    predictor: Predictor, ecgs: Sequence[File | Record], options: PredictOptions
) -> list[tuple[File, RecordSignals | Failure]]:
    """Read and preprocess one window of each ECG."""
    return [(path_of(ecg), prepare(predictor, ecg, options)) for ecg in ecgs]


def classify_batch(
    predictor: Predictor, items: Sequence[tuple[File, RecordSignals | Failure]], keep_signals: bool = False
) -> Iterator[Prediction | Failure]:
    """Classify prepared ECGs at once, and yield a result for each."""
    prepared = [(path, item) for path, item in items if isinstance(item, RecordSignals)]
    predictions = iter(classify_all(predictor, prepared))
    for _, item in items:
        result = item if isinstance(item, Failure) else next(predictions)
        if keep_signals and isinstance(result, Prediction) and isinstance(item, RecordSignals):
            result = replace(result, signals=item)
        yield result


def path_of(ecg: File | Record) -> File:
    return Path(ecg.name) if isinstance(ecg, Record) else ecg


def prepare(predictor: Predictor, ecg: File | Record, options: PredictOptions) -> RecordSignals | Failure:
    """Read and preprocess one window of an ECG. Any error is returned as the failure of this ECG."""
    preprocess = predictor.metadata.preprocess
    seconds = preprocess.seconds if options.window is Window.FIRST else None

    def first_or_best() -> RecordSignals:
        if options.window is Window.BEST and is_longer(recording := open_ecg(ecg, options.read), preprocess):
            return pick_best(recording, preprocess)
        record = ecg if isinstance(ecg, Record) else read_record(ecg, replace(options.read, seconds=seconds))
        return RecordSignals(record, preprocess(record))

    return failing_alone(path_of(ecg), first_or_best)


def open_ecg(ecg: File | Record, options: ReadOptions) -> Recording:
    """Open an ECG, to be read in parts where it is long."""
    return ecg if isinstance(ecg, Record) else open_recording(ecg, replace(options, seconds=None))


T = TypeVar("T")


def failing_alone(path: File, run: Callable[[], T]) -> T | Failure:
    """Return what a function returns, or its error as the failure of this file alone.

    Raises:
        PlaceError: a remote place cannot be reached, which other files would suffer, too.
    """
    try:
        return run()
    except PlaceError:
        raise
    except QualityError as error:
        return Failure(path, str(error), error.findings)
    except (RecordError, OSError) as error:
        return fail(path, "unreadable", str(error))
    except Exception as error:  # noqa: BLE001, one file must not stop the others
        return report_bug(path, error)


def predict_windows(
    predictor: Predictor, ecg: File | Record, options: ReadOptions, keep_signals: bool
) -> Prediction | Failure:
    """Predict for each window of an ECG and return the mean. Any error is returned as the failure of this ECG."""
    path, preprocess = path_of(ecg), predictor.metadata.preprocess

    def mean_of_all() -> Prediction | Failure:
        recording = open_ecg(ecg, options)
        if isinstance(recording, Record) and not is_longer(recording, preprocess):
            return replace(next(predict_batch(predictor, [recording], keep_signals=keep_signals)), path=path)
        windows = ((path, signals) for _, signals in prepare_windows(recording, preprocess))
        results = list[Prediction | Failure]()
        while items := list(islice(windows, BATCH)):
            results += classify_batch(predictor, items, keep_signals)
        kept = [result for result in results if isinstance(result, Prediction)]
        n_windows = count_windows(recording, preprocess)
        return combine(predictor.metadata, kept, n_windows, recording.seconds) if kept else results[0]

    return failing_alone(path, mean_of_all)


def combine(metadata: ModelMetadata, results: Sequence[Prediction], n_windows: int, seconds: float) -> Prediction:
    """Return the mean of the probabilities of a record's windows. Undecided ones are left out if others are not.

    No decision is made unless half of the windows allow one.
    """
    decided = [result for result in results if result.undecided is None]
    used = decided or list(results)
    mean = np.mean([list(result.probabilities.values()) for result in used], axis=0)
    calibrated = metadata.calibration.probabilities(logit(np.clip(mean, TINY, 1 - TINY))[None])
    errors = [result.reconstruction_rmse for result in used if result.reconstruction_rmse is not None]
    scores = [result.unlike_training for result in used if result.unlike_training is not None]
    sentence = f"lasts {seconds:.5g} s; the mean of {len(used)} of its {n_windows} windows is given."
    findings = [
        Finding("windows", sentence, value=float(len(used))),
        *summarize_findings([r.findings for r in results]),
    ]
    enough = 2 * len(decided) >= n_windows
    if not enough:
        sentence = f"only {len(decided)} of {n_windows} windows allow a decision; at least half are needed."
        findings.insert(0, Finding("few-windows", sentence, NO_DECISION, value=float(len(decided))))
    nearest = min(used, key=lambda r: float(np.abs(np.array(list(r.probabilities.values())) - mean).max()))
    decisions = metadata.calibration.predicted(calibrated)[0].tolist()
    return Prediction(
        results[0].path,
        metadata.by_label(mean.tolist()),
        metadata.by_label(calibrated[0].tolist()),
        metadata.by_label(decisions) if enough else {},
        float(np.mean(errors)) if errors else None,
        tuple(findings),
        nearest.signals,
        float(np.mean(scores)) if scores else None,
    )


def classify_all(predictor: Predictor, prepared: list[tuple[File, RecordSignals]]) -> list[Prediction | Failure]:
    """Return a result for each record. If a batch raises, its records are run one by one so that only bad ones fail."""
    try:
        return list(classify(predictor, prepared))
    except Exception as error:  # noqa: BLE001, one record must not stop the others
        if len(prepared) == 1:
            return [report_bug(prepared[0][0], error)]
        return [result for one in prepared for result in classify_all(predictor, [one])]


def classify(predictor: Predictor, prepared: list[tuple[File, RecordSignals]]) -> Iterator[Prediction | Failure]:
    """Yield a result for each record. It is a failure if the model's output for the record is not finite."""
    if not prepared:
        return
    metadata = predictor.metadata
    signals = np.stack([item.prepared.signal for _, item in prepared])
    logits = predictor.logits(signals)
    errors = predictor.reconstruction_rmse(signals)
    typicality = check_typicality(metadata.typicality, signals)
    calibrated = metadata.calibration.probabilities(logits)
    decisions = metadata.calibration.predicted(calibrated)
    uncalibrated = sigmoid(logits)
    usable = np.isfinite(logits).all(axis=1) & (True if errors is None else np.isfinite(errors))
    for i, (path, (_, item)) in enumerate(prepared):
        if not usable[i]:
            yield fail(path, "not-finite", f"{path.name}: {NOT_FINITE}")
            continue
        error = None if errors is None else float(errors[i])
        score, unlike = typicality[i]
        findings = sorted(
            (*item.findings, *check_rmse(error), *unlike), key=lambda finding: finding.severity is not NO_DECISION
        )
        undecided = any(finding.severity is NO_DECISION for finding in findings)
        decided = {} if undecided else metadata.by_label(decisions[i].tolist())
        yield Prediction(
            path,
            metadata.by_label(uncalibrated[i].tolist()),
            metadata.by_label(calibrated[i].tolist()),
            decided,
            error,
            tuple(findings),
            unlike_training=score,
        )


def check_rmse(rmse: float | None) -> tuple[Finding, ...]:
    """Return the finding that a reconstruction error rules out a decision, if it does. It is None without a decoder."""
    if rmse is None or rmse <= LARGEST_RMSE:
        return ()
    sentence = f"the reconstruction error is {rmse:.2f} mV, above {LARGEST_RMSE:g}; check the gains and the unit."
    return (Finding("reconstruction-error", sentence, NO_DECISION, value=rmse),)
