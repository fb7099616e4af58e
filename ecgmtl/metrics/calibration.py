"""Calibration of probabilities and decision thresholds, fitted on the validation split.

Figures that depend on thresholds or calibration are cross-fitted on the records that these were fitted on: each fifth
of the patients is evaluated with what the other four give.

A threshold is half of the best expected F1, by the calibrated probabilities (Lipton et al. 2014, arXiv 1402.1892).
The threshold of the best F1 on the same records varies much more, because it follows single records: fitted on one
fold of PTB-XL, it gives a point less macro F1 on the others (docs/methods.md).

SciPy is imported where something is fitted. Predictions do without it, and so begin sooner.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from pydantic import FiniteFloat, NonNegativeInt, model_validator

from ecgmtl.metrics.sigmoid import sigmoid
from ecgmtl.settings import Settings

MIN_RECORDS = 5
"""Least number of positives and of negatives for a label's own fit; others get the shared slope and threshold 0.5."""
N_FOLDS = 5
"""Number of folds of patients in cross-fitting."""
SLOPES = (0.05, 50.0)
"""Bounds of a slope. A fit that ends at either bound shows no rising relation of logit and label, and is discarded."""


class ThresholdFigures(Settings):
    """Counts of one label's decisions, and its AUROC, on the records that the calibration was fitted on."""

    n_positive: NonNegativeInt
    """Number of records with the label."""
    n_negative: NonNegativeInt
    """Number of records without it."""
    true_positives: NonNegativeInt
    """Number of records with the label at or above the threshold."""
    true_negatives: NonNegativeInt
    """Number of records without the label below the threshold."""
    auroc: FiniteFloat | None
    """None where all records have the label, or none has."""


class Calibration(Settings):
    """Calibration of each label: probability = sigmoid(slope · logit + intercept), predicted from the threshold on."""

    slope: tuple[FiniteFloat, ...]
    intercept: tuple[FiniteFloat, ...]
    thresholds: tuple[FiniteFloat, ...]
    figures: tuple[ThresholdFigures, ...] = ()
    """Figures of each threshold. Empty where nothing was fitted, and in models of earlier versions."""
    cross_fitted: bool = False
    """Whether the figures are of decisions on each fold of patients by the other folds. They are optimistic if not."""

    @model_validator(mode="after")
    def lengths_agree(self) -> "Calibration":
        lengths = (len(self.slope), len(self.intercept), len(self.thresholds))
        if len(set(lengths)) > 1:
            raise ValueError(
                "slope, intercept and thresholds need a value for each label; found {}, {} and {}".format(*lengths)
            )
        if self.figures and len(self.figures) != lengths[0]:
            raise ValueError(
                f"figures need one entry for each label; found {len(self.figures)} for {lengths[0]} labels"
            )
        return self

    def require_labels(self, names: Sequence[str]) -> None:
        """Raise ValueError unless these labels are one or more, each once, and each has a threshold."""
        require_distinct(names)
        if len(self.thresholds) != len(names):
            counts = f"{len(self.thresholds)} for {len(names)} labels"
            raise ValueError(f"calibration should have a threshold for each label; found {counts}")

    @classmethod
    def identity(cls, n_labels: int) -> "Calibration":
        """Return the plain sigmoid with the threshold 0.5 for every label."""
        return cls(slope=(1.0,) * n_labels, intercept=(0.0,) * n_labels, thresholds=(0.5,) * n_labels)

    def probabilities(self, logits: Float[np.ndarray, "record label"]) -> Float64[np.ndarray, "record label"]:
        """Compute calibrated probabilities."""
        return sigmoid(logits.astype(np.float64) * np.array(self.slope) + np.array(self.intercept))

    def predicted(self, probabilities: Float[np.ndarray, "record label"]) -> Bool[np.ndarray, "record label"]:
        """Decide which labels are predicted."""
        return probabilities >= np.array(self.thresholds)


def require_distinct(names: Sequence[str]) -> None:
    """Raise ValueError unless the labels of a set are one or more, each once."""
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"labels should be one or more, each once; found {', '.join(names) or 'none'}")


class Decisions(NamedTuple):
    """Calibrated probabilities, and which labels are predicted."""

    probabilities: Float64[np.ndarray, "record label"]
    predicted: Bool[np.ndarray, "record label"]


def fit_calibration(
    logits: Float[np.ndarray, "record label"],
    labels: Shaped[np.ndarray, "record label"],
    patients: Int64[np.ndarray, " record"] | None = None,
) -> Calibration:
    """Fit Platt scaling for each label, and the threshold of the best expected F1.

    The figures are cross-fitted. patients: the patient of each record; None where each has one record.
    """
    logits, truth = logits.astype(np.float64), labels > 0
    predicted = cross_fit(logits, truth, np.arange(len(logits)) if patients is None else patients).predicted
    figures = {"figures": measure(predicted, logits, truth), "cross_fitted": True}
    return fit(logits, truth).model_copy(update=figures)


def cross_fit(
    logits: Float[np.ndarray, "record label"],
    labels: Shaped[np.ndarray, "record label"],
    patients: Int64[np.ndarray, " record"],
) -> Decisions:
    """Calibrate and decide for each of five folds of patients by what the other folds give.

    The folds are the same in every call. A single patient is evaluated with what they give themselves.
    """
    logits, truth = logits.astype(np.float64), labels > 0
    known, numbers = np.unique(patients, return_inverse=True)
    fold = (np.random.default_rng(0).permutation(len(known)) % N_FOLDS)[numbers]
    decisions = Decisions(np.empty_like(logits), np.empty_like(truth))
    for own in (fold == number for number in np.unique(fold)):
        others = ~own if len(known) > 1 else own
        fitted = fit(logits[others], truth[others])
        decisions.probabilities[own] = fitted.probabilities(logits[own])
        decisions.predicted[own] = fitted.predicted(decisions.probabilities[own])
    return decisions


def fit(logits: Float64[np.ndarray, "record label"], truth: Bool[np.ndarray, "record label"]) -> Calibration:
    """Fit slopes, intercepts and thresholds, without figures."""
    shared = fit_slope(logits, truth)
    lines, thresholds = [], []
    for column, true in zip(logits.T, truth.T, strict=True):
        enough = min(true.sum(), (~true).sum()) >= MIN_RECORDS
        line = (fit_line(column, true) if enough else None) or (shared, 0.0)
        lines.append(line)
        thresholds.append(best_expected_f1(sigmoid(line[0] * column + line[1])) / 2 if enough else 0.5)
    slope, intercept = zip(*lines, strict=True)
    return Calibration(slope=slope, intercept=intercept, thresholds=tuple(thresholds))


def measure(
    predicted: Bool[np.ndarray, "record label"],
    logits: Float64[np.ndarray, "record label"],
    truth: Bool[np.ndarray, "record label"],
) -> tuple[ThresholdFigures, ...]:
    """Count each label's right decisions and compute its AUROC."""
    from ecgmtl.metrics.ranking import auroc

    return tuple(
        ThresholdFigures(
            n_positive=int(true.sum()),
            n_negative=int((~true).sum()),
            true_positives=int((decided & true).sum()),
            true_negatives=int((~decided & ~true).sum()),
            auroc=None if np.isnan(area) else float(area),
        )
        for decided, true, area in zip(predicted.T, truth.T, auroc(logits, truth), strict=True)
    )


def fit_line(logits: Float64[np.ndarray, " record"], truth: Bool[np.ndarray, " record"]) -> tuple[float, float] | None:
    """Fit slope and intercept by cross-entropy; None where logits do not rise with the label.

    Targets are a little inside 0 and 1, as if there were one more record of each kind, so that separable records do
    not make the slope infinite (Platt, 1999). scikit-learn's `CalibratedClassifierCV` has no bounds on the slope, by
    which labels without a rising relation are found, and would keep pickled estimators in place of two numbers.
    """
    from scipy.optimize import minimize

    n_positive, n_negative = truth.sum(), (~truth).sum()
    targets = np.where(truth, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))

    def cross_entropy(line: Float64[np.ndarray, "2"]) -> tuple[float, Float64[np.ndarray, "2"]]:
        z = line[0] * logits + line[1]
        error = (sigmoid(z) - targets) / len(z)
        return float((np.logaddexp(0, z) - targets * z).mean()), np.array([error @ logits, error.sum()])

    fit = minimize(cross_entropy, np.array([1.0, 0.0]), jac=True, bounds=[SLOPES, (None, None)], tol=1e-12)
    slope, intercept = map(float, fit.x)
    return (slope, intercept) if SLOPES[0] < slope < SLOPES[1] else None


def fit_slope(logits: Float64[np.ndarray, "record label"], truth: Bool[np.ndarray, "record label"]) -> float:
    """Fit one slope for all labels, without an intercept: the inverse of a temperature (Guo et al., ICML 2017)."""
    from scipy.optimize import minimize

    def cross_entropy(slope: Float64[np.ndarray, "1"]) -> tuple[float, Float64[np.ndarray, "1"]]:
        z = slope[0] * logits
        gradient = ((sigmoid(z) - truth) * logits).mean()
        return float((np.logaddexp(0, z) - truth * z).mean()), np.array([gradient])

    fit = minimize(cross_entropy, np.ones(1), jac=True, bounds=[SLOPES])
    slope = float(fit.x[0])
    return slope if SLOPES[0] < slope < SLOPES[1] else 1.0


def best_expected_f1(probabilities: Float64[np.ndarray, " record"]) -> float:
    """Return the best expected F1 of deciding for the most probable records.

    For the k most probable ones it is 2 Σₖ p / (k + Σ p), the F1 of the expected counts. A record raises it where its
    probability is above half of it, so half of the best is the threshold that attains it.
    """
    falling = np.sort(probabilities)[::-1]
    return float((2 * falling.cumsum() / (np.arange(1, len(falling) + 1) + falling.sum())).max())
