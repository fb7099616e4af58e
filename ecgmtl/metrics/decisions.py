"""Metrics of multi-label predictions and their probabilities."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

FMAX_THRESHOLDS = np.arange(101) / 100


class RecordFigures(NamedTuple):
    """Means over records of how the set of predicted labels agrees with the set of true ones.

    A record counts 1 in each where both sets are empty, and 0 where only one is. scikit-learn's `average="samples"` has
    one value, `zero_division`, for both cases.
    """

    accuracy: float
    """Size of the intersection over the size of the union (Jaccard)."""
    precision: float
    """Size of the intersection over the number of predicted labels."""
    recall: float
    """Size of the intersection over the number of true labels."""
    f1: float
    """Twice the size of the intersection over the sum of both sizes."""
    exact: float
    """Fraction of records whose sets are equal."""


def record_figures(
    predicted: Bool[np.ndarray, "record label"], truth: Bool[np.ndarray, "record label"]
) -> RecordFigures:
    """Compute the metrics by record."""
    both = (predicted & truth).sum(axis=1)
    n_predicted, n_true = predicted.sum(axis=1), truth.sum(axis=1)
    blank = n_predicted + n_true == 0

    def mean_share(size: np.ndarray) -> float:
        return float(np.where(blank, 1.0, both / np.maximum(size, 0.5)).mean())

    return RecordFigures(
        accuracy=mean_share((predicted | truth).sum(axis=1)),
        precision=mean_share(n_predicted),
        recall=mean_share(n_true),
        f1=mean_share((n_predicted + n_true) / 2),
        exact=float((predicted == truth).all(axis=1).mean()),
    )


def one_error(scores: Float[np.ndarray, "record label"], truth: Bool[np.ndarray, "record label"]) -> float:
    """Compute the fraction of labeled records whose highest score is not on a true label; nan without any.

    scikit-learn has no one-error.
    """
    labeled = truth.any(axis=1)
    if not labeled.any():
        return float("nan")
    top = scores[labeled].argmax(axis=1)
    return float(1 - truth[labeled, top].mean())


class Fmax(NamedTuple):
    """The best F-score with its threshold."""

    value: float
    threshold: float


def fmax(probabilities: Float[np.ndarray, "record label"], truth: Bool[np.ndarray, "record label"]) -> Fmax:
    """Compute the best harmonic mean of precision and recall over one threshold for all labels, 0 to 1 by 0.01.

    Precision is a mean over the records with a prediction, recall over those with a label: the sample-centric Fmax of
    CAFA, which the PTB-XL benchmark reports. It is nan if no record has a label. scikit-learn has no such metric.
    """
    labeled = truth.any(axis=1)
    if not labeled.any():
        return Fmax(float("nan"), float("nan"))
    n_true = truth.sum(axis=1)[labeled]
    values = np.zeros(len(FMAX_THRESHOLDS))
    for index, threshold in enumerate(FMAX_THRESHOLDS):
        predicted = probabilities >= threshold
        both, n_predicted = (predicted & truth).sum(axis=1), predicted.sum(axis=1)
        answered = n_predicted > 0
        if both.any():
            precision = (both[answered] / n_predicted[answered]).mean()
            recall = (both[labeled] / n_true).mean()
            values[index] = 2 * precision * recall / (precision + recall)
    return Fmax(float(values.max()), float(FMAX_THRESHOLDS[values.argmax()]))


class LabelFigures(NamedTuple):
    """Metrics of each label at its threshold; nan where a denominator is 0."""

    n_positive: Int64[np.ndarray, " label"]
    prevalence: Float64[np.ndarray, " label"]
    f1: Float64[np.ndarray, " label"]
    sensitivity: Float64[np.ndarray, " label"]
    specificity: Float64[np.ndarray, " label"]
    precision: Float64[np.ndarray, " label"]


def label_figures(predicted: Bool[np.ndarray, "record label"], truth: Bool[np.ndarray, "record label"]) -> LabelFigures:
    """Compute the metrics of each label. scikit-learn's functions have no specificity, and 0 or a warning for nan."""
    both = (predicted & truth).sum(axis=0)
    n_predicted, n_true = predicted.sum(axis=0), truth.sum(axis=0)
    neither, n_false = (~predicted & ~truth).sum(axis=0), (~truth).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return LabelFigures(
            n_true.astype(np.int64),
            n_true / len(truth),
            np.where(n_true > 0, 2 * both / (n_predicted + n_true), np.nan),
            both / n_true,
            neither / n_false,
            both / n_predicted,
        )


N_BINS = 15


class Bins(NamedTuple):
    """Reliability bins: 15 of equal width. A bin includes its lower edge, and the last one both edges."""

    n_records: Int64[np.ndarray, "label bin"]
    probability: Float64[np.ndarray, "label bin"]
    """Mean probability of the bin's records; nan where it has none."""
    observed: Float64[np.ndarray, "label bin"]
    """Fraction of the bin's records that have the label; nan where it has none."""


def reliability_bins(probabilities: Float[np.ndarray, "record label"], truth: Bool[np.ndarray, "record label"]) -> Bins:
    """Bin records by probability. scikit-learn's `calibration_curve` does not return how many a bin holds."""
    n_records, n_labels = truth.shape
    index = np.minimum((probabilities * N_BINS).astype(np.int64), N_BINS - 1)
    cell = (index + N_BINS * np.arange(n_labels)).ravel()

    def add_up(values: np.ndarray) -> np.ndarray:
        return np.bincount(cell, weights=values.ravel(), minlength=n_labels * N_BINS).reshape(n_labels, N_BINS)

    held = add_up(np.ones((n_records, n_labels)))
    with np.errstate(invalid="ignore"):
        return Bins(held.astype(np.int64), add_up(probabilities) / held, add_up(truth) / held)


def expected_calibration_error(bins: Bins) -> Float64[np.ndarray, " label"]:
    """Compute the mean over records of |mean probability - observed fraction| of their bin (Guo et al., ICML 2017)."""
    distance = np.abs(np.nan_to_num(bins.probability - bins.observed))
    return (bins.n_records * distance).sum(axis=1) / bins.n_records.sum(axis=1)


def brier(
    probabilities: Float[np.ndarray, "record label"], truth: Bool[np.ndarray, "record label"]
) -> Float64[np.ndarray, " label"]:
    """Compute the mean squared difference of probability and label, for each label."""
    return np.square(probabilities.astype(np.float64) - truth).mean(axis=0)
