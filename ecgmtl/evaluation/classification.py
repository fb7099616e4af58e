"""All that is said of a classifier on a split: headline figures with intervals, a row a label."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64
from scipy.special import expit

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

FREQUENT = 10
"""Positives from which on a label counts as frequent: rarer ones make macro-AUROC jump from seed to seed."""


class Estimate(NamedTuple):
    value: float
    low: float = float("nan")
    """Lower end of the 95 % interval; nan where none was computed."""
    high: float = float("nan")


class Answers(NamedTuple):
    """What a classifier said of the records of a split, and what is true."""

    logits: Float64[np.ndarray, "record label"]
    probabilities: Float64[np.ndarray, "record label"]
    """Calibrated."""
    predicted: Bool[np.ndarray, "record label"]
    truth: Bool[np.ndarray, "record label"]
    patients: Int64[np.ndarray, " record"]
    label_names: tuple[str, ...]
    thresholds: tuple[float, ...]


@dataclass(frozen=True)
class ClassificationReport:
    answers: Answers
    headline: dict[str, Estimate]
    labels: pd.DataFrame
    """Indexed by label; nan where a figure is not defined."""
    undefined: tuple[str, ...]
    """Labels without positives or without negatives: they have no AUROC and are left out of macro figures."""
    bins: Bins
    plain_bins: Bins
    """Before calibration."""
    n_bootstrap: int
    """Resamples that the intervals come from."""


def report_classification(
    answers: Answers, n_bootstrap: int = 1000, seed: int = 0, advance: Callable[[int], None] = lambda _: None
) -> ClassificationReport:
    truth, probabilities = answers.truth, answers.probabilities
    auroc, auprc = rank_figures(probabilities, truth)
    draws = bootstrap(probabilities, truth, answers.patients, n_bootstrap, seed, advance) if n_bootstrap else None
    frequent = truth.sum(axis=0) >= FREQUENT
    decided = label_figures(answers.predicted, truth)
    bins, plain_bins = reliability_bins(probabilities, truth), reliability_bins(expit(answers.logits), truth)

    headline = {
        "macro_auroc": macro(auroc, draws and draws.auroc),
        "macro_auroc_frequent": macro(auroc[frequent], draws and draws.auroc[:, frequent]),
        "macro_auprc": macro(auprc, draws and draws.auprc, mirrored=True),
        **at_thresholds(answers, decided),
        "brier": Estimate(float(brier(probabilities, truth).mean())),
        "ece": Estimate(float(expected_calibration_error(bins).mean())),
        "ece_before_calibration": Estimate(float(expected_calibration_error(plain_bins).mean())),
    }
    columns = {
        "n_positive": decided.n_positive,
        "prevalence": decided.prevalence,
        **with_ends("auroc", auroc, draws and draws.auroc),
        **with_ends("auprc", auprc, draws and draws.auprc),
        "threshold": answers.thresholds,
        **{name: getattr(decided, name) for name in ("f1", "sensitivity", "specificity", "precision")},
        "brier": brier(probabilities, truth),
        "ece": expected_calibration_error(bins),
    }
    table = pd.DataFrame(columns, index=pd.Index(answers.label_names, name="label"))
    undefined = tuple(name for name, both in zip(answers.label_names, has_both(truth), strict=True) if not both)
    return ClassificationReport(answers, headline, table, undefined, bins, plain_bins, n_bootstrap)


def at_thresholds(answers: Answers, decided: LabelFigures) -> dict[str, Estimate]:
    """What depends on where probabilities are cut: by record, over labels, and the best single cut."""
    by_record = record_figures(answers.predicted, answers.truth)
    best = fmax(answers.probabilities, answers.truth)
    figures = {
        "fmax": best.value,
        "fmax_threshold": best.threshold,
        **by_record._asdict(),
        "one_error": one_error(answers.probabilities, answers.truth),
        "macro_f1": float(mean_defined(decided.f1)),
        "macro_sensitivity": float(mean_defined(decided.sensitivity)),
        "macro_specificity": float(mean_defined(decided.specificity)),
    }
    return {name: Estimate(value) for name, value in figures.items()}


def macro(
    values: Float64[np.ndarray, " label"],
    draws: Float64[np.ndarray, "resample label"] | None,
    *,
    mirrored: bool = False,
) -> Estimate:
    """The mean over the labels that are defined, in the split and in each resample."""
    value = float(mean_defined(values))
    if draws is None:
        return Estimate(value)
    means = mean_defined(draws)
    low, high = mirrored_interval(value, means) if mirrored else interval(means)
    return Estimate(value, float(low), float(high))


def with_ends(name: str, values: np.ndarray, draws: np.ndarray | None) -> dict[str, np.ndarray]:
    """The columns of a figure and of its interval, where there is one."""
    if draws is None:
        return {name: values}
    low, high = interval(draws)
    return {name: values, f"{name}_low": low, f"{name}_high": high}
