"""Findings of a comparison: all figures, the few sentences that sum them up, and the sections of the report."""

from collections.abc import Callable, Sequence
from math import inf, isfinite
from typing import NamedTuple

import pandas as pd

from ecgmtl.comparison.claims import ClaimRow, claim_rows, claims_section
from ecgmtl.comparison.course import (
    SHARES,
    CourseRow,
    LateRow,
    ThresholdRow,
    course_rows,
    late_rows,
    reference_final,
    threshold_rows,
)
from ecgmtl.comparison.results import Comparison, RunResult
from ecgmtl.comparison.statistics import Interval
from ecgmtl.comparison.tables import ArmRow, TuningRow, arm_rows, named_figures, resample_runs, tuning_rows
from ecgmtl.comparison.text import (
    LEVEL,
    Section,
    arms_section,
    cost_section,
    course_section,
    final_section,
    late_section,
    named_section,
    percent,
    plain,
    signed,
    threshold_section,
    tuning_section,
)

NAMED = {
    "reconstruction": "Of the kept models; means over seeds.",
    "diagnostics": "Of the gradients, where they were asked for; means over each run and over seeds. They explain "
    "little by themselves: gradients in conflict do not make a bad arm, nor agreement a good one.",
    "weights": "Of the tasks' losses; means over each run and over seeds.",
}
"""What is said of figures that runs call by name."""
MAX_LISTED = 6
METHODS = (
    "Intervals of final scores and their differences, and their p-values: patients are drawn again with replacement, "
    "each with all records, the same draws for all runs; seeds contribute the t distribution of their mean. Drawing "
    "the seeds again in place of that covers too little: 68 % with 3 seeds, 85 % with 5, where 95 % is claimed.",
    "p, Holm: corrected so that among all arms of the table one false finding is no likelier than 5 %.",
    "p, sign flips: exact, assumes nothing but symmetry, and cannot be below 0.25 with 3 seeds, 0.125 with 4, 0.0625 "
    "with 5. It is a check on the other, which assumes that differences between seeds are about normal.",
    "Intervals named t, and all over seeds: the t distribution with one degree of freedom less than there are seeds. "
    "Of 3 seeds they are 2.2 times as wide as of many, and honest. The paired bootstrap over seeds is too narrow for "
    "few seeds: with 3 it is little more than the range of what was seen, and holds the truth in about 2 of 3 cases.",
    "Times to a threshold are read off the curve between evaluations, as if it rose there in straight lines.",
    "Seconds are those of the machine that the runs had, with whatever else it did; the pace, of an arm's fastest "
    "epoch, suffers least.",
    "Arms that reconstruct see masked records, and the reference sees whole ones. An arm that is masked, and whose "
    "encoder learns classification alone, shows what the masks alone do.",
    "Bands of curves are the t intervals of the mean at each moment, not for the curve as a whole.",
    "Where an arm keeps the best of its epochs or was tuned, that was chosen on the same validation records and "
    "flatters it; for figures of a model that was not chosen on them, take the test split.",
    "An arm with a single seed has an interval over patients alone, and no verdict.",
    "Arms that were given more than the budget are looked at up to it, except for their final score.",
)


class Figures(NamedTuple):
    """All figures of a comparison."""

    arms: list[ArmRow]
    courses: list[CourseRow]
    late: list[LateRow]
    thresholds: list[ThresholdRow]
    tuning: list[TuningRow]
    claims: list[ClaimRow]
    named: dict[str, pd.DataFrame]
    """Means over seeds of what runs call by name: reconstruction, diagnostics, weights."""


def measure(comparison: Comparison, n_resamples: int) -> Figures:
    named: dict[str, Callable[[RunResult], dict[str, float]]] = {
        "reconstruction": lambda run: run.reconstruction,
        "diagnostics": lambda run: run.diagnostics,
        "weights": lambda run: run.mean_weights,
    }
    resampled = resample_runs(comparison, n_resamples)
    return Figures(
        arms=arm_rows(comparison, resampled),
        courses=course_rows(comparison),
        late=late_rows(comparison),
        thresholds=threshold_rows(comparison),
        tuning=tuning_rows(comparison),
        claims=claim_rows(comparison, resampled),
        named={name: named_figures(comparison, figures) for name, figures in named.items()},
    )


def sections(comparison: Comparison, figures: Figures) -> list[Section]:
    """Return the sections of the report in order. A section without figures is left out."""
    extra = [
        named_section(name.capitalize(), words, figures.named[name])
        for name, words in NAMED.items()
        if len(figures.named[name])
    ]
    return [
        opening(comparison, figures),
        *([claims_section(figures.claims)] if figures.claims else []),
        arms_section(comparison),
        final_section(comparison, figures.arms),
        course_section(comparison.reference, figures.courses),
        threshold_section(comparison.reference, figures.thresholds),
        late_section(comparison.reference, figures.late),
        *extra,
        *([tuning_section(figures.tuning)] if figures.tuning else []),
        cost_section(comparison.reference, figures.arms),
        Section("How the figures are made, and what they cannot say", notes=METHODS),
    ]


def opening(comparison: Comparison, figures: Figures) -> Section:
    truth = comparison.truth
    n_runs = sum(len(runs) for runs in comparison.arms.values())
    fewest, most = (f([len(runs) for runs in comparison.arms.values()]) for f in (min, max))
    seeds = ("1 seed" if most == 1 else f"{most} seeds") if fewest == most else f"{fewest} to {most} seeds"
    words = (
        f"{len(comparison.arms)} ways of training (arms), {seeds} each, {n_runs} runs. All are judged by the "
        f"macro AUROC of classification on the same {len(truth.patients)} validation records of "
        f"{len(set(truth.patients.tolist()))} patients, {len(truth.label_names)} labels, and compared with the arm "
        f"{comparison.reference}, which learns nothing else.",
        "Runs with the same seed begin with the same encoder and, where labels are learnt from the first stage on and "
        "no patients are kept back, see the same records in the same order, so that differences are paired; after "
        "pretraining, the order is another. Brackets hold 95 % intervals: where one contains 0 (for ratios: 1), the "
        "data do not tell which arm is better.",
    )
    return Section("What was found", words, notes=tuple(findings(comparison, figures)))


def findings(comparison: Comparison, figures: Figures) -> list[str]:
    """Sum up the comparison in a few sentences."""
    others = [row for row in figures.arms if row.arm != comparison.reference]
    rows = sorted(others, key=lambda row: -row.difference.value if isfinite(row.difference.value) else inf)
    if not rows:
        return [f"There is only {comparison.reference}; nothing can be compared yet."]
    sure = [f"{row.arm} {signed(row.difference)}" for row in rows if row.p_holm < LEVEL]
    counted = f"{len(sure)} of {counted_arms(len(rows))} differ" if sure else "no arm differs"
    n_tests = sum(isfinite(row.p_holm) for row in rows)
    controls = [f"{row.arm} {signed(row.difference)}" for row in rows if comparison.about(row.arm).is_control]
    return [
        f"Final macro AUROC: {counted} from {comparison.reference} ({reference_final(comparison):.4f}) after "
        f"correction for {n_tests} {'test' if n_tests == 1 else 'tests'}{listed(sure)}.",
        *([f"Controls, for what has other causes than the method{listed(controls)}."] if controls else []),
        time_finding(comparison.reference, figures.thresholds),
        loss_finding(comparison.reference, figures.courses),
    ]


def time_finding(reference: str, thresholds: Sequence[ThresholdRow]) -> str:
    share = SHARES[1]
    ratios = [(row.arm, row.ratio_t) for row in thresholds if row.share == share]
    faster, slower = sort_out(ratios)
    return (
        f"Training until {percent(share)} of the final score of {reference}, as a ratio, pretraining counted: "
        f"{both_directions('less', faster, 'more', slower)}."
    )


def loss_finding(reference: str, courses: Sequence[CourseRow]) -> str:
    lower, higher = sort_out([(row.arm, row.loss_at_50) for row in courses if row.counts_pretraining])
    return (
        f"Validation loss after half of the budget, as a ratio to {reference}: "
        f"{both_directions('lower', lower, 'higher', higher)}."
    )


def both_directions(below: str, lower: Sequence[str], above: str, higher: Sequence[str]) -> str:
    """Say which arms lie on either side of the reference, leaving out a side without arms."""
    sides = [
        f"{side} in {counted_arms(len(arms))}{listed(arms)}" for side, arms in ((below, lower), (above, higher)) if arms
    ]
    return "; ".join(sides) or "no arm differs clearly"


def counted_arms(n_arms: int) -> str:
    return "1 arm" if n_arms == 1 else f"{n_arms} arms"


def sort_out(ratios: Sequence[tuple[str, Interval]]) -> tuple[list[str], list[str]]:
    """Return the arms whose interval lies below 1, and those above, the most extreme first."""
    clear = [(arm, span) for arm, span in ratios if span.has_width and (span.high < 1 or span.low > 1)]
    rising = sorted(clear, key=lambda pair: pair[1].value)
    below = [f"{arm} {plain(span, 2)}" for arm, span in rising if span.high < 1]
    return below, [f"{arm} {plain(span, 2)}" for arm, span in reversed(rising) if span.low > 1]


def listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
    return ": " + ", ".join(items[:MAX_LISTED]) + more if items else ""
