"""Predictions for ECG files, which are read in batches. A file that fails does not stop the others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from traceback import format_exception
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from data_prep.preprocess import Prepared
from data_prep.quality import Finding, QualityError, Severity
from data_prep.readers import OtherFile, ReadOptions, find_files, read_record
from data_prep.record import Record, RecordError
from ecgmtl.inference.predictor import Predictor

BATCH = 64
"""Number of records that are read and classified at once."""
NO_DECISION = Severity.NO_DECISION
NOT_FINITE = (
    "the model's output for this record is not a finite number. The model is probably damaged, or its training "
    "diverged; take another copy of it, or train it again."
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


class Signals(NamedTuple):
    """Signals of one record."""

    record: Record
    """As read, up to the length of the model's input."""
    prepared: Prepared
    """As the model reads it."""


@dataclass(frozen=True)
class Prediction:
    """Prediction for one record."""

    path: Path
    probabilities: dict[str, float]
    """Uncalibrated probabilities: the sigmoid of each logit."""
    calibrated: dict[str, float]
    """Probabilities calibrated to the frequencies of the validation split."""
    decisions: dict[str, bool]
    """Whether the calibrated probability reaches the label's threshold. Empty where the record is `undecided`."""
    reconstruction_rmse: float | None
    """Error of the reconstruction of masked samples, in mV. None for a model without a decoder."""
    findings: tuple[Finding, ...] = ()
    """What is odd about the record. Those that forbid a decision come first."""
    signals: Signals | None = field(default=None, repr=False, compare=False)
    """None unless `predict` was told to keep them."""

    @property
    def undecided(self) -> str | None:
        """Reason why no decision is made, or None."""
        return " ".join(finding.sentence for finding in self.findings if finding.severity is NO_DECISION) or None

    @property
    def warnings(self) -> str:
        """Sentences of the findings. The reason why no decision is made comes first, if there is one."""
        notes = [finding.sentence for finding in self.findings if finding.severity is not NO_DECISION]
        return " ".join(notes if self.undecided is None else [f"No decision: {self.undecided}", *notes])


@dataclass(frozen=True)
class Failure:
    """A file for which there is no prediction."""

    path: Path
    reason: str
    findings: tuple[Finding, ...] = ()
    """What is odd about the record, among it the failure itself."""
    traceback: str = ""
    """Traceback of an unexpected error, which is a bug in ecgmtl; empty where the file is at fault."""


def predict(
    predictor: Predictor,
    paths: str | Path | Iterable[str | Path],
    options: ReadOptions = ReadOptions(),  # noqa: B008, it is frozen
    batch_size: int = BATCH,
    leave_out: Iterable[Path] = (),
    keep_signals: bool = False,
) -> Iterator[Prediction | Failure | OtherFile]:
    """Yield a result for each record, in the order of the files, and each other file in the folders among `paths`.

    Memory holds one batch at a time. `options` tell what files do not state, such as the sampling rate. `leave_out`
    names files that results are written to. `keep_signals` adds to each prediction the signals that it was made from.
    """
    files = find_files([paths] if isinstance(paths, str | Path) else paths, options, leave_out)
    while batch := list(islice(files, batch_size)):
        yield from (other for other in batch if isinstance(other, OtherFile))
        ecgs = [path for path in batch if isinstance(path, Path)]
        yield from predict_batch(predictor, ecgs, options, keep_signals)


def predict_records(
    predictor: Predictor, records: Iterable[Record], batch_size: int = BATCH
) -> Iterator[Prediction | Failure]:
    """Yield a result for each record that was read already. The path of a result is the record's name."""
    remaining = iter(records)
    while batch := list(islice(remaining, batch_size)):
        yield from predict_batch(predictor, batch)


def predict_batch(
    predictor: Predictor,
    ecgs: Sequence[Path | Record],
    options: ReadOptions = ReadOptions(),  # noqa: B008, it is frozen
    keep_signals: bool = False,
) -> Iterator[Prediction | Failure]:
    """Read, prepare and classify ECGs at once, and yield a result for each."""
    items = [(path_of(ecg), prepare(predictor, ecg, options)) for ecg in ecgs]
    predictions = iter(classify_all(predictor, [(path, item) for path, item in items if isinstance(item, Signals)]))
    for _, item in items:
        result = item if isinstance(item, Failure) else next(predictions)
        if keep_signals and isinstance(result, Prediction) and isinstance(item, Signals):
            result = replace(result, signals=item)
        yield result


def path_of(ecg: Path | Record) -> Path:
    return Path(ecg.name) if isinstance(ecg, Record) else ecg


def prepare(predictor: Predictor, ecg: Path | Record, options: ReadOptions) -> Signals | Failure:
    """Read and preprocess one ECG. Any error is returned as the failure of this ECG."""
    path, preprocess = path_of(ecg), predictor.metadata.preprocess
    try:
        record = ecg if isinstance(ecg, Record) else read_record(ecg, replace(options, seconds=preprocess.seconds))
        return Signals(record, preprocess(record))
    except QualityError as error:
        return Failure(path, str(error), error.findings)
    except (RecordError, OSError) as error:
        return fail(path, "unreadable", str(error))
    except Exception as error:  # noqa: BLE001, one file must not stop the others
        return report_bug(path, error)


def classify_all(predictor: Predictor, prepared: list[tuple[Path, Signals]]) -> list[Prediction | Failure]:
    """Return a result for each record. If a batch raises, its records are run one by one so that only bad ones fail."""
    try:
        return list(classify(predictor, prepared))
    except Exception as error:  # noqa: BLE001, one record must not stop the others
        if len(prepared) == 1:
            return [report_bug(prepared[0][0], error)]
        return [result for one in prepared for result in classify_all(predictor, [one])]


def report_bug(path: Path, error: Exception) -> Failure:
    """Return the failure of a file by a bug. It names only the type of the error, as its text may quote the file."""
    reason = f"{path.name}: {type(error).__name__}, a bug in ecgmtl. Add --debug to see where, and report it."
    return replace(fail(path, "bug", reason), traceback="".join(format_exception(error)))


def fail(path: Path, code: str, reason: str) -> Failure:
    """Return the failure of a file for one reason."""
    return Failure(path, reason, (Finding(code, reason.removeprefix(f"{path.name}: "), Severity.FAILURE),))


def classify(predictor: Predictor, prepared: list[tuple[Path, Signals]]) -> Iterator[Prediction | Failure]:
    """Yield a result for each record. It is a failure if the model's output for the record is not finite."""
    if not prepared:
        return
    metadata = predictor.metadata
    signals = np.stack([item.prepared.signal for _, item in prepared])
    logits = predictor.logits(signals)
    errors = predictor.reconstruction_rmse(signals)
    calibrated = metadata.calibration.probabilities(logits)
    decisions = metadata.calibration.predicted(calibrated)
    uncalibrated = expit(logits.astype(np.float64))
    usable = np.isfinite(logits).all(axis=1) & (True if errors is None else np.isfinite(errors))
    for i, (path, (_, item)) in enumerate(prepared):
        if not usable[i]:
            yield fail(path, "not-finite", f"{path.name}: {NOT_FINITE}")
            continue
        error = None if errors is None else float(errors[i])
        findings = sorted((*item.findings, *check_rmse(error)), key=lambda finding: finding.severity is not NO_DECISION)
        undecided = any(finding.severity is NO_DECISION for finding in findings)
        decided = {} if undecided else dict(zip(metadata.label_names, decisions[i].tolist(), strict=True))
        yield Prediction(
            path,
            dict(zip(metadata.label_names, uncalibrated[i].tolist(), strict=True)),
            dict(zip(metadata.label_names, calibrated[i].tolist(), strict=True)),
            decided,
            error,
            tuple(findings),
        )


def check_rmse(rmse: float | None) -> tuple[Finding, ...]:
    """Return the finding that a reconstruction error rules out a decision, if it does. It is None without a decoder."""
    if rmse is None or rmse <= LARGEST_RMSE:
        return ()
    sentence = f"the reconstruction error is {rmse:.2f} mV, above {LARGEST_RMSE:g}; check the gains and the unit."
    return (Finding("reconstruction-error", sentence, NO_DECISION, value=rmse),)
