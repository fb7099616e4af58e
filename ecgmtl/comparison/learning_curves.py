"""Learning curves of the arms: area under the curve, losses, the end of training, time to a threshold."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from ecgmtl.comparison.comparison import Comparison
from ecgmtl.comparison.course import course, final_loss, final_train_loss, gap, loss_after, pretraining
from ecgmtl.comparison.results import Cell, Clock, RunResult
from ecgmtl.comparison.statistics import (
    CHANCE,
    UNKNOWN,
    Interval,
    late_spread,
    learning_area,
    mean_interval,
    ratio_interval,
)
from ecgmtl.comparison.survival import (
    EventTimes,
    Units,
    kaplan_meier,
    median_time,
    restricted_mean,
    restricted_mean_ratio,
    restricted_mean_ratio_t,
    time_to_threshold,
)

SHARES = (0.90, 0.95, 0.98)
"""Thresholds, as fractions of the reference's mean final score."""
QUARTERS = (0.25, 0.5, 0.75, 1.0)
"""Fractions of the budget at which losses are compared."""


class CourseRow(NamedTuple):
    """Learning curve of an arm's main task over the budget, with or without pretraining counted."""

    arm: str
    counts_pretraining: bool
    area: Interval
    """Area under the curve of macro AUROC. 0 is chance throughout, 1 the reference's final score throughout."""
    area_difference: Interval
    loss_at_25: Interval
    """Ratio of the validation loss to the reference's, at 25 % of the budget."""
    loss_at_50: Interval
    loss_at_75: Interval
    loss_at_100: Interval


class LateRow(NamedTuple):
    """The end of an arm's training: spread, score if stopped earlier, and overfitting, with paired differences."""

    arm: str
    spread: Interval
    spread_difference: Interval
    stopped: Interval
    """Macro AUROC at the evaluation that is best by the other seeds or folds."""
    stopped_difference: Interval
    loss: Interval
    train_loss: Interval
    gap: Interval
    """Validation loss minus training loss of the main task."""
    gap_difference: Interval


class ThresholdRow(NamedTuple):
    """Time until an arm's runs reach a threshold and hold it, as a fraction of the budget."""

    arm: str
    share: float
    threshold: float
    n_seeds: int
    n_reached: int
    median: float
    mean: float
    """Mean time, restricted to the budget."""
    ratio: Interval
    """Ratio of restricted means to the reference's, with a paired bootstrap over seeds."""
    ratio_t: Interval
    """The same with a t interval."""
    without_pretraining: Interval
    """`ratio_t` without counting pretraining. Unknown if there is none."""
    wall_clock: Interval
    """`ratio_t` in seconds."""


def course_rows(comparison: Comparison) -> list[CourseRow]:
    """Return one row per arm, and a second one without pretraining for arms that have it."""
    rows = []
    for arm in comparison.arms:
        rows.append(course_row(comparison, arm, counts_pretraining=True))
        if pretraining(comparison.about(arm)):
            rows.append(course_row(comparison, arm, counts_pretraining=False))
    return rows


def course_row(comparison: Comparison, arm: str, *, counts_pretraining: bool) -> CourseRow:
    """Return area and losses of one arm."""
    whole = comparison.budget()
    height = comparison.reference_final() - CHANCE

    def area(run: RunResult) -> float:
        curve = course(run, amortized=not counts_pretraining)
        return (learning_area(curve.times, curve.scores, whole) - CHANCE) / height if height > 0 else np.nan

    def loss_at(share: float) -> Interval:
        loss = partial(loss_after, share * whole, counts_pretraining=counts_pretraining)
        return ratio_interval(*comparison.paired_figures(arm, loss)) if arm != comparison.reference else UNKNOWN

    areas, others = comparison.paired_figures(arm, area)
    difference = mean_interval(areas - others) if arm != comparison.reference else UNKNOWN
    return CourseRow(arm, counts_pretraining, mean_interval(areas), difference, *(loss_at(share) for share in QUARTERS))


def late_rows(comparison: Comparison) -> list[LateRow]:
    """Return one row per arm."""
    return [late_row(comparison, arm) for arm in comparison.arms]


def late_row(comparison: Comparison, arm: str) -> LateRow:
    """Return spread, losses and their gap at the end of an arm's runs."""

    def spread(run: RunResult) -> float:
        curve = course(run)
        return late_spread(curve.times, curve.scores)

    def difference(figure: Callable[[RunResult], float]) -> Interval:
        mine, others = comparison.paired_figures(arm, figure)
        return mean_interval(mine - others) if arm != comparison.reference else UNKNOWN

    def mean(figure: Callable[[RunResult], float]) -> Interval:
        runs = comparison.arms[arm]
        return mean_interval(comparison.by_unit(runs, np.array([figure(run) for run in runs.values()])))

    cells = comparison.paired(arm)
    stopped = stopped_scores(comparison, arm, list(comparison.arms[arm]))
    gained = stopped_scores(comparison, arm, cells) - stopped_scores(comparison, comparison.reference, cells)
    return LateRow(
        arm=arm,
        spread=mean(spread),
        spread_difference=difference(spread),
        stopped=mean_interval(stopped).as_share(),
        stopped_difference=mean_interval(gained) if arm != comparison.reference else UNKNOWN,
        loss=mean(final_loss),
        train_loss=mean(final_train_loss),
        gap=mean(gap),
        gap_difference=difference(gap),
    )


def stopped_scores(comparison: Comparison, arm: str, cells: Sequence[Cell]) -> Float64[np.ndarray, " unit"]:
    """Return the macro AUROC of the arm by seed, or by fold, at the evaluation that is best on average over the others.

    Over folds, this is early stopping by a rule that does not use the records that the arm is evaluated on. The score
    is nan where there is no other seed or fold.
    """
    curves = [course(comparison.arms[arm][cell]).scores for cell in cells]
    if not curves:
        return np.empty(0)
    # runs of an arm have the same stages, and the last evaluations are those that all of them have
    n = min(map(len, curves))
    return stopped_by_others(comparison.by_unit(cells, np.stack([curve[-n:] for curve in curves])))


def stopped_by_others(curves: Float64[np.ndarray, "unit evaluation"]) -> Float64[np.ndarray, " unit"]:
    """Return the score of each curve at the evaluation that is best on average over the others.

    A curve has no influence on the choice of its own evaluation. The score is nan where there are no others.
    """
    if len(curves) < 2:
        return np.full(len(curves), np.nan)
    others = (curves.sum(axis=0) - curves) / (len(curves) - 1)
    best = np.argmax(np.nan_to_num(others, nan=-np.inf), axis=1)
    return curves[np.arange(len(curves)), best]


def threshold_rows(comparison: Comparison) -> list[ThresholdRow]:
    """Return one row per threshold and arm."""
    return [threshold_row(comparison, arm, share) for share in SHARES for arm in comparison.arms]


def threshold_row(comparison: Comparison, arm: str, share: float) -> ThresholdRow:
    """Return the times until one arm reaches one threshold."""
    whole, cells = comparison.budget(), list(comparison.arms[arm])
    times, reached = event_times(comparison, arm, cells, share)
    median = median_time(kaplan_meier(times, reached))
    return ThresholdRow(
        arm=arm,
        share=share,
        threshold=share * comparison.reference_final(),
        n_seeds=len(cells),
        n_reached=int((reached & (times <= whole)).sum()),
        median=median / whole if median <= whole else np.nan,
        mean=restricted_mean(times, reached, whole) / whole,
        ratio=time_ratio(restricted_mean_ratio, comparison, arm, share),
        ratio_t=time_ratio(restricted_mean_ratio_t, comparison, arm, share),
        without_pretraining=time_ratio(restricted_mean_ratio_t, comparison, arm, share, amortized=True),
        wall_clock=time_ratio(restricted_mean_ratio_t, comparison, arm, share, "seconds"),
    )


def time_ratio(
    ratio: Callable[[EventTimes, EventTimes, float, Units], Interval],
    comparison: Comparison,
    arm: str,
    share: float,
    clock: Clock = "samples_seen",
    *,
    amortized: bool = False,
) -> Interval:
    """Return the ratio of the arm's restricted mean to the reference's. It is unknown for the reference itself."""
    cells = comparison.paired(arm)
    if arm == comparison.reference or not cells or (amortized and not pretraining(comparison.about(arm))):
        return UNKNOWN
    mine = event_times(comparison, arm, cells, share, clock, amortized=amortized)
    others = event_times(comparison, comparison.reference, cells, share, clock)
    return ratio(mine, others, comparison.budget(clock), comparison.units(cells))


def event_times(
    comparison: Comparison,
    arm: str,
    cells: Sequence[Cell],
    share: float,
    clock: Clock = "samples_seen",
    *,
    amortized: bool = False,
) -> EventTimes:
    """Return when each run reached and held this fraction of the reference's final score, or ended before.

    Over folds it is the reference's score in the same fold, since some folds are harder than others.
    """
    runs = [comparison.arms[arm][cell] for cell in cells]
    curves = [course(run, clock, amortized=amortized) for run in runs]
    thresholds = [share * comparison.reference_final(run.fold) for run in runs]
    events = (time_to_threshold(c.times, c.scores, level) for c, level in zip(curves, thresholds, strict=True))
    times, reached = zip(*events, strict=True)
    return np.array(times, dtype=np.float64), np.array(reached, dtype=bool)
