"""The card of one result: what the page shows of it, as JSON."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32
from scipy.ndimage import uniform_filter1d

from data_prep.quality import Finding, Severity
from data_prep.safe_text import printable
from ecgmtl.inference.occlusion import WINDOW, occlude
from ecgmtl.inference.predictor import Predictor, Reconstructor
from ecgmtl.inference.result import Failure, Prediction
from ecgmtl.inference.windows import RecordSignals
from ecgmtl.report_page.drawing import as_prepared, as_read, pack

MOST_EXPLAINED = 5
"""Largest number of labels of a record whose explanation is shown: those nearest to their thresholds, or above."""
BAND_SECONDS = 0.4
"""Length of time over which the error of the reconstruction is averaged."""

SEVERITIES = {Severity.NOTE: "note", Severity.NO_DECISION: "undecided", Severity.FAILURE: "failed"}
"""Names of severities on the page."""


class Card(NamedTuple):
    """One result for the page."""

    summary: dict[str, Any]
    """Row of the table, and the card's text."""
    drawing: str | None
    """Packed signal; None where there is none."""


def card(result: Prediction | Failure, predictor: Predictor, detailed: bool = True) -> Card:
    """Return the card of one result.

    If it is `detailed`, it has the signal as read, the reconstruction where the model has a decoder, and the importance
    of parts of the signal, which takes some 60 forward passes. Otherwise it has the signal that the model reads.
    """
    path = printable(str(result.path))
    if isinstance(result, Failure):
        return Card({"path": path, "status": "failed", "findings": reasons(result)}, None)
    summary = {
        "path": path,
        "status": "ok" if result.undecided is None else "undecided",
        "findings": [as_shown(finding) for finding in result.findings],
        "probabilities": [round(value, 4) for value in result.calibrated.values()],
        "decisions": [int(value) for value in result.decisions.values()],
        "rmse": None if result.reconstruction_rmse is None else round(result.reconstruction_rmse, 3),
    }
    if result.signals is None:
        return Card(summary, None)
    record = result.signals.record
    summary |= {"fs": record.fs, "seconds": round(record.seconds, 2)}
    return Card(summary, draw(result, result.signals, predictor, detailed))


def as_shown(finding: Finding) -> dict[str, str]:
    """Return a finding in the form of the page."""
    severity, sentence = SEVERITIES[finding.severity], printable(finding.sentence)
    return {"severity": severity, "code": finding.label, "sentence": sentence}


def reasons(failure: Failure) -> list[dict[str, str]]:
    """Return the reason of a failure, with its code if it has one, followed by the other findings."""
    others = [finding for finding in failure.findings if finding.sentence not in failure.reason]
    code = " ".join(finding.label for finding in failure.findings if finding not in others)
    first = {"severity": SEVERITIES[Severity.FAILURE], "code": code, "sentence": printable(failure.reason)}
    return [first, *map(as_shown, others)]


def draw(result: Prediction, signals: RecordSignals, predictor: Predictor, detailed: bool) -> str:
    """Return the packed drawing of a prediction."""
    fs = float(predictor.metadata.preprocess.fs)
    if not detailed:
        return pack(as_prepared(signals, fs), {})
    details, layers = explain(result, signals, predictor), []
    signal = signals.prepared.signal
    reconstructed = predictor.reconstruct_masked(signal) if isinstance(predictor, Reconstructor) else None
    if reconstructed is not None and np.isfinite(reconstructed).all():
        details["reconstruction"] = {"fs": fs}
        drawn = reconstructed - np.median(signal, axis=1, keepdims=True)
        layers = [drawn, local_error(reconstructed - signal, fs)]
    return pack(as_read(signals, fs), details, layers)


def local_error(error: Float32[np.ndarray, "lead time"], fs: float) -> Float[np.ndarray, "lead time"]:
    """Compute the root mean square of an error over 0.4 s around each sample."""
    mean = uniform_filter1d(np.square(error.astype(np.float64)), max(round(BAND_SECONDS * fs), 1), axis=1)
    return np.sqrt(np.maximum(mean, 0))


def explain(result: Prediction, signals: RecordSignals, predictor: Predictor) -> dict[str, Any]:
    """Return the importance of parts of the signal for the labels nearest to their thresholds, or above.

    Values are falls of the calibrated logit, so that a probability without a part is sigmoid(logit - fall). It is empty
    if the model's output without some part is not a finite number.
    """
    calibration = predictor.metadata.calibration
    slope, probabilities = np.array(calibration.slope), np.array([*result.calibrated.values()])
    intercept = np.array(calibration.intercept)
    order = np.argsort(np.array(calibration.thresholds) - probabilities, kind="stable")
    labels = order[:MOST_EXPLAINED].tolist()
    occlusion = occlude(predictor, signals.prepared.signal)
    if not (np.isfinite(occlusion.time).all() and np.isfinite(occlusion.leads).all()):
        return {}
    explained = [
        {
            "label": label,
            "logit": round(float(slope[label] * occlusion.logits[label] + intercept[label]), 3),
            "time": np.round(slope[label] * occlusion.time[:, label], 3).tolist(),
            "leads": np.round(slope[label] * occlusion.leads[:, label], 3).tolist(),
        }
        for label in labels
    ]
    return {"explanation": {"step": occlusion.step, "window": WINDOW, "labels": explained}}
