"""Report of a classifier on a split: headline figures with intervals, and a row per label."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from ecgmtl.metrics.bootstrap import bootstrap, interval, mirrored_interval
from ecgmtl.metrics.decisions import (
    Bins,
    LabelFigures,
    brier,
    expected_calibration_error,
    fmax,
    label_figures,
    one_error,
    record_figures,
    reliability_bins,
)
from ecgmtl.metrics.ranking import has_both, mean_defined, rank_figures
from ecgmtl.metrics.sigmoid import sigmoid

FREQUENT = 10
"""Fewest positives of a frequent label. Rarer labels make macro AUROC vary much from seed to seed."""


class Estimate(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float = float("nan")
    """Lower end of the interval; nan where none was computed."""
    high: float = float("nan")


class Answers(NamedTuple):
    """Outputs of a classifier for the records of a split, and the true labels."""

    logits: Float64[np.ndarray, "record label"]
    probabilities: Float64[np.ndarray, "record label"]
    """Calibrated probabilities, by which records are ranked."""
    evaluated: Float64[np.ndarray, "record label"]
    """Calibrated probabilities that are compared with the truth: the same, or cross-fitted ones."""
    predicted: Bool[np.ndarray, "record label"]
    """Decisions on these."""
    truth: Bool[np.ndarray, "record label"]
    patients: Int64[np.ndarray, " record"]
    label_names: tuple[str, ...]
    thresholds: tuple[float, ...]
    cross_fitted: bool = False
    """Whether these are the records that the calibration was fitted on, so that it is cross-fitted here."""


@dataclass(frozen=True)
class ClassificationReport:
    """Figures of a classifier on a split."""

    answers: Answers
    headline: dict[str, Estimate]
    labels: pd.DataFrame
    """Figures by label; nan where a figure is not defined."""
    undefined: tuple[str, ...]
    """Labels without positives or without negatives. They have no AUROC and are left out of macro figures."""
    bins: Bins
    plain_bins: Bins
    """Bins of the probabilities before calibration."""
    n_bootstrap: int
    """Number of resamples from which the intervals are computed."""


def report_classification(
    answers: Answers, n_bootstrap: int = 1000, seed: int = 0, advance: Callable[[int], None] = lambda _: None
) -> ClassificationReport:
    """Compute all figures of a classifier. Without resamples there are no intervals."""
    truth, probabilities = answers.truth, answers.probabilities
    auroc, auprc = rank_figures(probabilities, truth)
    resampled = bootstrap(probabilities, truth, answers.patients, n_bootstrap, seed, advance) if n_bootstrap else None
    frequent = truth.sum(axis=0) >= FREQUENT
    by_label = label_figures(answers.predicted, truth)
    evaluated = answers.evaluated
    bins, plain_bins = reliability_bins(evaluated, truth), reliability_bins(sigmoid(answers.logits), truth)

    headline = {
        "macro_auroc": macro(auroc, resampled and resampled.auroc),
        "macro_auroc_frequent": macro(auroc[frequent], resampled and resampled.auroc[:, frequent]),
        "macro_auprc": macro(auprc, resampled and resampled.auprc, mirrored=True),
        **at_thresholds(answers, by_label),
        "brier": Estimate(float(brier(evaluated, truth).mean())),
        "ece": Estimate(float(expected_calibration_error(bins).mean())),
        "ece_before_calibration": Estimate(float(expected_calibration_error(plain_bins).mean())),
    }
    columns = {
        "n_positive": by_label.n_positive,
        "prevalence": by_label.prevalence,
        **with_interval("auroc", auroc, resampled and resampled.auroc),
        **with_interval("auprc", auprc, resampled and resampled.auprc),
        "threshold": answers.thresholds,
        **{name: getattr(by_label, name) for name in ("f1", "sensitivity", "specificity", "precision")},
        "brier": brier(evaluated, truth),
        "ece": expected_calibration_error(bins),
    }
    table = pd.DataFrame(columns, index=pd.Index(answers.label_names, name="label"))
    undefined = tuple(name for name, both in zip(answers.label_names, has_both(truth), strict=True) if not both)
    return ClassificationReport(answers, headline, table, undefined, bins, plain_bins, n_bootstrap)


def at_thresholds(answers: Answers, by_label: LabelFigures) -> dict[str, Estimate]:
    """Compute the figures that depend on thresholds: by record, over labels, and at the best single threshold."""
    by_record = record_figures(answers.predicted, answers.truth)
    best = fmax(answers.evaluated, answers.truth)
    figures = {
        "fmax": best.value,
        "fmax_threshold": best.threshold,
        **by_record._asdict(),
        "one_error": one_error(answers.evaluated, answers.truth),
        "macro_f1": float(mean_defined(by_label.f1)),
        "macro_sensitivity": float(mean_defined(by_label.sensitivity)),
        "macro_specificity": float(mean_defined(by_label.specificity)),
    }
    return {name: Estimate(value) for name, value in figures.items()}


def macro(
    values: Float64[np.ndarray, " label"],
    resampled: Float64[np.ndarray, "resample label"] | None,
    *,
    mirrored: bool = False,
) -> Estimate:
    """Compute the mean over the labels for which it is defined, in the split and in each resample."""
    value = float(mean_defined(values))
    if resampled is None:
        return Estimate(value)
    means = mean_defined(resampled)
    low, high = mirrored_interval(value, means) if mirrored else interval(means)
    return Estimate(value, float(low), float(high))


def with_interval(name: str, values: np.ndarray, resampled: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the columns of a figure and of its interval, where there is one."""
    if resampled is None:
        return {name: values}
    low, high = interval(resampled)
    return {name: values, f"{name}_low": low, f"{name}_high": high}
