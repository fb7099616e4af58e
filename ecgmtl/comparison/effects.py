"""What a claim about a comparison speaks of, as a number with its interval: positive is the way that is claimed."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ecgmtl.comparison.course import both, gap, late_row, loss_after, time_ratio
from ecgmtl.comparison.results import Comparison, RunResult, budget
from ecgmtl.comparison.statistics import UNKNOWN, Interval, hierarchical_draws, mean_interval, ratio_interval
from ecgmtl.comparison.survival import restricted_mean_ratio_t
from ecgmtl.comparison.tables import Resampled, pace, paired_draws
from ecgmtl.metrics.bootstrap import interval

ADVISED = "lambda-0.3"
"""The arm that does as the claims advise: a fixed weight of 0.3."""
MASKED = "detached"
"""The arm that sees the same records with the same parts hidden, and whose encoder hears of the main task alone."""
RANGE = (0.1, 0.5)
"""Of the fixed weights that the claims advise."""
SWEEP = "lambda-"
"""How the names of arms with a fixed weight begin; the weight follows."""
SHARE = 0.95
"""Of the reference's final score: where that is reached to stay, training counts as done."""
NOISE = "noise_scale.classification"


class Evidence(NamedTuple):
    comparison: Comparison
    resampled: Resampled


class Effect(NamedTuple):
    span: Interval
    n_seeds: int


NOTHING = Effect(UNKNOWN, 0)
"""Where an arm is missing, or no two arms have a seed in common."""


def lower_loss(evidence: Evidence, arm: str, reference: str, *, percent: int) -> Effect:
    """Validation loss of the main task after this part of the budget, in per cent below the reference's."""
    loss = partial(loss_after, percent / 100 * budget(evidence.comparison))
    mine, others = both(evidence.comparison, arm, loss, reference)
    return Effect(below(ratio_interval(mine, others)), len(mine))


def saved(evidence: Evidence, arm: str, _reference: str, *, amortised: bool = False) -> Effect:
    """Training records until a share of the reference's final score, in per cent below the reference's.

    Without interval where all seeds agree to the evaluation: that says nothing of what lies between evaluations.
    """
    ratio = time_ratio(restricted_mean_ratio_t, evidence.comparison, arm, SHARE, amortised=amortised)
    if not ratio.has_width:
        ratio = Interval(ratio.value, np.nan, np.nan)
    return Effect(below(ratio), len(evidence.comparison.paired(arm)))


def saved_time(evidence: Evidence, arm: str, reference: str) -> Effect:
    """The same in seconds, each arm at the pace of its fastest epoch: what else the machine did is no one's fault."""
    records, n_seeds = saved(evidence, arm, reference)
    slower = pace(evidence.comparison, arm) / pace(evidence.comparison, reference)
    return Effect(Interval(*(100 - slower * (100 - end) for end in records)), n_seeds)


def calmer(evidence: Evidence, arm: str, _reference: str) -> Effect:
    """How much less macro-AUROC spreads over the last quarter, in points."""
    difference = late_row(evidence.comparison, arm).spread_difference
    return Effect(scaled(difference, -100), len(evidence.comparison.paired(arm)))


def narrower(evidence: Evidence, arm: str, reference: str) -> Effect:
    """How much less the validation loss exceeds the training loss at the end, in nats."""
    mine, others = both(evidence.comparison, arm, gap, reference)
    return Effect(scaled(mean_interval(mine - others), -1), len(mine))


def less_noise(evidence: Evidence, arm: str, _reference: str) -> Effect:
    """Variance of the main task's gradient over its squared norm, mean over the run, in per cent below."""

    def scale(run: RunResult) -> float:
        return run.diagnostics.get(NOISE, np.nan)

    mine, others = both(evidence.comparison, arm, scale)
    return Effect(below(ratio_interval(mine, others)), int(np.isfinite(mine - others).sum()))


def gained(evidence: Evidence, arm: str, reference: str) -> Effect:
    """Final macro-AUROC, in points above the reference's."""
    return least_gained(evidence, [(arm, reference)])


def gained_over_other_weights(evidence: Evidence, arm: str, _reference: str) -> Effect:
    return least_gained(evidence, [(arm, other) for other in swept(evidence.comparison) if other != arm])


def gained_in_range(evidence: Evidence, _arm: str, reference: str) -> Effect:
    low, high = RANGE
    inside = [arm for arm, weight in swept(evidence.comparison).items() if low <= weight <= high]
    return least_gained(evidence, [(arm, reference) for arm in inside])


def gained_over_tuned(evidence: Evidence, arm: str, _reference: str) -> Effect:
    """Over the fixed weight that is best by the other seeds: the best by all would be flattered by the choice."""
    runs, sweep = evidence.comparison.arms, list(swept(evidence.comparison))
    seeds = [seed for seed in runs[arm] if all(seed in runs[other] for other in sweep)]
    if len(sweep) < 2 or len(seeds) < 2:
        return NOTHING

    def tuned(without: int) -> str:
        others = [seed for seed in seeds if seed != without]
        return max(sweep, key=lambda name: sum(runs[name][seed].macro_auroc for seed in others))

    pairs = [(seed, tuned(seed)) for seed in seeds]
    values = np.array([runs[arm][seed].macro_auroc - runs[best][seed].macro_auroc for seed, best in pairs])
    by_patients = np.stack([evidence.resampled[arm][seed] - evidence.resampled[best][seed] for seed, best in pairs])
    low, high = interval(hierarchical_draws(values, by_patients))
    return Effect(scaled(Interval(float(values.mean()), float(low), float(high)), 100), len(values))


def least_gained(evidence: Evidence, pairs: Sequence[tuple[str, str]]) -> Effect:
    """The smallest of several gains in final score.

    Its upper end allows for their number (Bonferroni). Its lower end need not: that all of them lie above a bound is
    told by all of their own intervals (intersection-union test: Berger, 1982).
    """
    found = [paired_draws(evidence.comparison, evidence.resampled, *pair) for pair in pairs]
    if not found or not all(len(values) for values, _ in found):
        return NOTHING
    least = Interval(
        min(float(values.mean()) for values, _ in found),
        min(float(interval(draws)[0]) for _, draws in found),
        min(float(interval(draws, 1 - 0.05 / len(pairs))[1]) for _, draws in found),
    )
    return Effect(scaled(least, 100), min(len(values) for values, _ in found))


def swept(comparison: Comparison) -> dict[str, float]:
    """The arms with a fixed weight, and that weight."""
    return {arm: float(arm.removeprefix(SWEEP)) for arm in comparison.arms if arm.startswith(SWEEP)}


def below(ratio: Interval) -> Interval:
    """By how many per cent a ratio is below 1."""
    value, low, high = (100 * (1 - end) for end in ratio)
    return Interval(value, high, low)


def scaled(span: Interval, factor: float) -> Interval:
    value, *ends = (factor * end for end in span)
    return Interval(value, min(ends), max(ends))
