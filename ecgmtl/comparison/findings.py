"""Findings of a comparison: all figures, the sentences that sum them up, and the sections of the report."""

from collections.abc import Callable, Sequence
from math import inf, isfinite
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_prep.words import counted
from ecgmtl.comparison.claims import ClaimRow, claim_rows, claims_left_out, claims_section
from ecgmtl.comparison.comparison import Comparison
from ecgmtl.comparison.folds import CellRow, FoldRow, cell_rows, fold_rows
from ecgmtl.comparison.learning_curves import (
    SHARES,
    CourseRow,
    LateRow,
    ThresholdRow,
    course_rows,
    late_rows,
    threshold_rows,
)
from ecgmtl.comparison.results import RunResult
from ecgmtl.comparison.statistics import LEVEL, Interval
from ecgmtl.comparison.tables import ArmRow, TuningRow, arm_rows, named_figures, resample_runs, tuning_rows
from ecgmtl.comparison.text import (
    Section,
    arms_section,
    cost_section,
    course_section,
    final_section,
    folds_section,
    late_section,
    named_section,
    percent,
    plain,
    signed,
    threshold_section,
    tuning_section,
    units_of,
)


class NamedFigures(NamedTuple):
    """Figures of a run that have free names."""

    words: str
    """Text above their table."""
    of: Callable[[RunResult], dict[str, float]]
    """Function that returns those of one run."""
    plots: tuple[str, ...] = ()
    """Plots below their table."""


NAMED = {
    "reconstruction": NamedFigures(
        "Reconstruction of masked samples by the final models; means over {units}.", lambda run: run.reconstruction
    ),
    "diagnostics": NamedFigures(
        "Gradient diagnostics of arms that record them; means over each run and over {units}. They explain little by "
        "themselves: an arm with gradient conflict need not be worse, and one without need not be better.",
        lambda run: run.diagnostics,
    ),
    "curvature": NamedFigures(
        "Curvature of the classification loss on a fixed batch of training records, with the EMA weights at the end of "
        "training; means over {units}. Eigenvalues depend on how the network is parametrized, so only arms with the "
        "same network can be compared, and a flatter minimum need not be a better one.",
        lambda run: {name: values[-1] for name, values in run.curvature.items()},
        ("curvature",),
    ),
    "weights": NamedFigures(
        "Weights of the tasks' losses; means over each run and over {units}.", lambda run: run.mean_weights
    ),
}
"""Named figures of the report, by the name of their table."""
MAX_LISTED = 6
HOLM = "p, Holm: corrected so that the probability of any false finding among all arms of the table is at most 5 %."
SEED_METHODS = (
    "Intervals and p-values of final scores and their differences: patients are resampled with replacement, with all "
    "of their records and in the same way for all runs. Seeds contribute the t distribution of their mean. Resampling "
    "the seeds instead would cover too little: 68 % with 3 seeds and 85 % with 5, at a nominal 95 %.",
    HOLM,
    "p, sign flips: exact, assumes only symmetry, and cannot be below 0.25 with 3 seeds, 0.125 with 4 and 0.0625 with "
    "5. It is a check on the other p-value, which assumes that differences between seeds are nearly normal.",
    "Intervals over seeds, and those named t: the t distribution with n - 1 degrees of freedom for n seeds. With 3 "
    "seeds they are 2.2 times as wide as with many, and keep their coverage. The paired bootstrap over seeds is too "
    "narrow for few seeds: with 3 it is little more than the range of the values, and covers about 2 of 3 cases.",
    "An arm with a single seed has an interval over patients only, and no verdict.",
)
SHARED_METHODS = (
    "Times to a threshold are interpolated linearly between evaluations.",
    "Seconds include the effect of other work on the same machine. The pace, from an arm's fastest epoch, is "
    "affected least.",
    "An arm whose classifier reads masked records differs from one whose classifier reads unmasked ones by the masks, "
    "too. One whose encoder learns only classification from masked records shows the effect of masking alone.",
    "Bands of curves are pointwise t intervals of the mean, not bands for the whole curve.",
    "If an arm keeps its best epoch or was tuned, that choice was made on the same validation records, and its score "
    "is optimistic. Use the test split for an unbiased score.",
    "Arms that were trained for longer than the budget are compared up to it, except for their final score.",
)
FOLD_METHODS = (
    "Intervals and p-values: figures are averaged over the seeds of a fold, and intervals are t intervals over folds "
    "with n - 1 degrees of freedom for n folds. In simulations with 9 folds and 2 seeds they cover 95 %. Patients "
    "resampled within every run, with the t distribution over all runs, cover 97 % if training records do not matter, "
    "91 % if they contribute 0.6 points, and 87 % if they contribute 1 point.",
    "Training sets of different folds overlap, so folds are not wholly independent. The intervals hold for other "
    "patients and seeds, and for other training records only as far as folds differ in them. No unbiased estimate of "
    "the rest exists for a single cross-validation (Bengio and Grandvalet, 2004).",
    "Every fold has random seeds of its own, which all arms share, so chance does not repeat itself over folds.",
    HOLM,
)


class Figures(NamedTuple):
    """All figures of a comparison."""

    arms: list[ArmRow]
    folds: list[FoldRow]
    cells: list[CellRow]
    courses: list[CourseRow]
    late: list[LateRow]
    thresholds: list[ThresholdRow]
    tuning: list[TuningRow]
    claims: list[ClaimRow]
    named: dict[str, pd.DataFrame]
    """Means over seeds of figures with free names: reconstruction, diagnostics, curvature, weights."""


def measure(comparison: Comparison, n_resamples: int) -> Figures:
    """Compute all figures of a comparison."""
    resampled = resample_runs(comparison, n_resamples)
    arms = arm_rows(comparison, resampled)
    return Figures(
        arms=arms,
        folds=fold_rows(comparison, arms),
        cells=cell_rows(comparison),
        courses=course_rows(comparison),
        late=late_rows(comparison),
        thresholds=threshold_rows(comparison),
        tuning=tuning_rows(comparison),
        claims=claim_rows(comparison, resampled),
        named={name: named_figures(comparison, each.of) for name, each in NAMED.items()},
    )


def sections(comparison: Comparison, figures: Figures) -> list[Section]:
    """Return the sections of the report in order. A section without figures is left out."""
    units = units_of(comparison)
    final = folds_section(comparison, figures.folds) if figures.folds else final_section(comparison, figures.arms)
    extra = [
        named_section(name.capitalize(), each.words, figures.named[name], units, each.plots)
        for name, each in NAMED.items()
        if len(figures.named[name])
    ]
    return [
        opening(comparison, figures),
        *([claims_section(figures.claims, claims_left_out(comparison))] if figures.claims else []),
        arms_section(comparison),
        final,
        course_section(comparison.reference, figures.courses, units),
        threshold_section(comparison.reference, figures.thresholds, units),
        late_section(comparison.reference, figures.late, units),
        *extra,
        *([tuning_section(figures.tuning)] if figures.tuning else []),
        cost_section(comparison.reference, figures.arms, units),
        Section(
            "How the figures are made, and what they cannot show",
            notes=(*(FOLD_METHODS if figures.folds else SEED_METHODS), *SHARED_METHODS),
        ),
    ]


def opening(comparison: Comparison, figures: Figures) -> Section:
    """Return the first section: what was compared, and the main findings."""
    start = "Runs with the same fold and seed" if comparison.folds else "Runs with the same seed"
    words = (
        folds_opening(comparison) if comparison.folds else seeds_opening(comparison),
        f"{start} start from the same encoder, so differences are paired. They also see the same "
        "records in the same order, except after pretraining and in arms that hold out patients. Brackets hold 95 % "
        "intervals: if one contains 0 (or 1 for a ratio), the data do not show which arm is better.",
    )
    return Section("Findings", words, notes=tuple(findings(comparison, figures)))


def seeds_opening(comparison: Comparison) -> str:
    """Say what was compared on the validation records."""
    truth = comparison.truth
    all_runs, labels = count_runs_and_labels(comparison)
    fewest, most = (f([len(runs) for runs in comparison.arms.values()]) for f in (min, max))
    seeds = counted(most, "seed") if fewest == most else f"{fewest} to {most} seeds"
    return (
        f"{len(comparison.arms)} ways of training (arms), {seeds} each, {all_runs}. All are scored by the "
        f"macro AUROC of classification on the same {len(truth.patients)} validation records of "
        f"{len(set(truth.patients.tolist()))} patients, {labels}, and compared with the arm "
        f"{named_reference(comparison)}"
    )


def folds_opening(comparison: Comparison) -> str:
    """Say what was compared over folds."""
    truth, folds = comparison.truth, comparison.folds
    evaluated = np.isin(truth.folds if truth.folds is not None else (), folds)
    n_seeds = len({run.seed for runs in comparison.arms.values() for run in runs.values()})
    all_runs, labels = count_runs_and_labels(comparison)
    return (
        f"{len(comparison.arms)} ways of training (arms) on {counted(len(folds), 'fold')} "
        f"({', '.join(map(str, folds))}) with up to {counted(n_seeds, 'seed')} each, {all_runs}. Every run is "
        f"trained without its fold and scored by the macro AUROC of classification on it. All folds together have "
        f"{evaluated.sum():,} records of {len(np.unique(truth.patients[evaluated])):,} patients, "
        f"{labels}. Arms are compared with the arm {named_reference(comparison)}"
    )


def count_runs_and_labels(comparison: Comparison) -> tuple[str, str]:
    """Return in words how many runs and how many labels there are."""
    n_runs = sum(len(runs) for runs in comparison.arms.values())
    return counted(n_runs, "run"), counted(len(comparison.truth.label_names), "label")


def named_reference(comparison: Comparison) -> str:
    """Return the name of the reference arm and what it does, as a sentence ends."""
    about = comparison.about(comparison.reference).about.rstrip(".")
    return f"{comparison.reference}: {about[0].lower()}{about[1:]}." if about else f"{comparison.reference}."


def findings(comparison: Comparison, figures: Figures) -> list[str]:
    """Summarize the comparison in a few sentences."""
    others = [row for row in figures.arms if row.arm != comparison.reference]
    rows = sorted(others, key=lambda row: -row.difference.value if isfinite(row.difference.value) else inf)
    if not rows:
        return [f"There is only {comparison.reference}; there is nothing to compare yet."]
    significant = [f"{row.arm} {signed(row.difference)}" for row in rows if row.p_holm < LEVEL]
    differ = f"{len(significant)} of {counted(len(rows), 'arm')} differ" if significant else "no arm differs"
    n_tests = sum(isfinite(row.p_holm) for row in rows)
    controls = [f"{row.arm} {signed(row.difference)}" for row in rows if comparison.about(row.arm).is_control]
    return [
        f"Final macro AUROC: {differ} from {comparison.reference} ({comparison.reference_final():.4f}) after "
        f"correction for {n_tests} {'test' if n_tests == 1 else 'tests'}{listed(significant)}.",
        *power_finding(figures.folds),
        *([f"Control arms, whose differences have other causes than a method{listed(controls)}."] if controls else []),
        time_finding(comparison.reference, figures.thresholds),
        loss_finding(comparison.reference, figures.courses),
    ]


def power_finding(rows: Sequence[FoldRow]) -> list[str]:
    """Say which differences the comparison could detect over folds, or nothing without folds."""
    smallest = [row.smallest_effect for row in rows if isfinite(row.smallest_effect)]
    if not smallest:
        return []
    return [
        f"With a power of 80 %, this comparison detects true differences of at least {min(smallest):.4f} to "
        f"{max(smallest):.4f}, depending on the arm. Smaller ones may exist where the data cannot tell."
    ]


def time_finding(reference: str, thresholds: Sequence[ThresholdRow]) -> str:
    """Say which arms reach the middle threshold with clearly less or more training."""
    share = SHARES[1]
    ratios = [(row.arm, row.ratio_t) for row in thresholds if row.share == share]
    faster, slower = sort_out(ratios)
    return (
        f"Training until {percent(share)} of the final score of {reference}, as a ratio to {reference}, with "
        f"pretraining counted: "
        f"{both_directions('less', faster, 'more', slower)}."
    )


def loss_finding(reference: str, courses: Sequence[CourseRow]) -> str:
    """Say which arms have a clearly lower or higher validation loss after half of the budget."""
    lower, higher = sort_out([(row.arm, row.loss_at_50) for row in courses if row.counts_pretraining])
    return (
        f"Validation loss after half of the budget, as a ratio to {reference}: "
        f"{both_directions('lower', lower, 'higher', higher)}."
    )


def both_directions(below: str, lower: Sequence[str], above: str, higher: Sequence[str]) -> str:
    """Name the arms on either side of the reference, leaving out a side without arms."""
    sides = [
        f"{side} in {counted(len(arms), 'arm')}{listed(arms)}"
        for side, arms in ((below, lower), (above, higher))
        if arms
    ]
    return "; ".join(sides) or "no arm differs clearly"


def sort_out(ratios: Sequence[tuple[str, Interval]]) -> tuple[list[str], list[str]]:
    """Return the arms whose interval lies below 1, and those above, the most extreme first."""
    clear = [(arm, span) for arm, span in ratios if span.has_width and (span.high < 1 or span.low > 1)]
    rising = sorted(clear, key=lambda pair: pair[1].value)
    below = [f"{arm} {plain(span, 2)}" for arm, span in rising if span.high < 1]
    return below, [f"{arm} {plain(span, 2)}" for arm, span in reversed(rising) if span.low > 1]


def listed(items: Sequence[str]) -> str:
    """Return a colon and the first items of a list, or nothing for an empty list."""
    more = f" and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
    return ": " + ", ".join(items[:MAX_LISTED]) + more if items else ""
