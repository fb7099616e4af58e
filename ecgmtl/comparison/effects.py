"""Effects that claims are about, each a number with its interval. Positive is the claimed direction."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ecgmtl.comparison.claims_file import Claim, EffectName
from ecgmtl.comparison.comparison import Comparison
from ecgmtl.comparison.course import gap, loss_after
from ecgmtl.comparison.learning_curves import late_row, stopped_scores, time_ratio
from ecgmtl.comparison.results import Cell, RunResult
from ecgmtl.comparison.statistics import UNKNOWN, Interval, mean_interval, ratio_interval
from ecgmtl.comparison.survival import restricted_mean_ratio_t
from ecgmtl.comparison.tables import Resampled, mean_samples, pace, paired_samples, with_interval
from ecgmtl.metrics.bootstrap import interval
from ecgmtl.tasks import MAIN

NOISE = f"noise_scale.{MAIN}"


class Evidence(NamedTuple):
    """A comparison with its resampled final scores."""

    comparison: Comparison
    resampled: Resampled

    def n_units(self, arm: str) -> int:
        """Return the number of seeds, or of folds, that the arm shares with the reference."""
        return len(np.unique(self.comparison.units(self.comparison.paired(arm))))


class Effect(NamedTuple):
    """A measured effect with its interval, and the number of seeds behind it."""

    span: Interval
    n_seeds: int


NOTHING = Effect(UNKNOWN, 0)
"""Effect where an arm is missing, or no two arms have a seed in common."""


def lower_loss(evidence: Evidence, claim: Claim) -> Effect:
    """Compute by how many percent the main validation loss is below the reference's after part of the budget."""
    loss = partial(loss_after, claim.percent / 100 * evidence.comparison.budget())
    mine, others = evidence.comparison.paired_figures(claim.arm, loss, claim.reference)
    return Effect(below(ratio_interval(mine, others)), len(mine))


def saved(evidence: Evidence, claim: Claim) -> Effect:
    """Compute how many percent fewer training records than the reference an arm needs to reach a fraction of its score.

    There is no interval if all seeds agree, because the resolution of evaluations then hides their differences.
    """
    ratio = time_ratio(restricted_mean_ratio_t, evidence.comparison, claim.arm, claim.share, amortized=claim.amortized)
    if not ratio.has_width:
        ratio = Interval(ratio.value, np.nan, np.nan)
    return Effect(below(ratio), evidence.n_units(claim.arm))


def saved_time(evidence: Evidence, claim: Claim) -> Effect:
    """Compute the saving of time in percent, with each arm at the pace of its fastest epoch.

    Other load on the machine affects the fastest epoch least.
    """
    records, n_seeds = saved(evidence, claim)
    slower = pace(evidence.comparison, claim.arm) / pace(evidence.comparison, claim.reference)
    return Effect(Interval(*(100 - slower * (100 - end) for end in records)), n_seeds)


def calmer(evidence: Evidence, claim: Claim) -> Effect:
    """Compute by how much less macro AUROC varies over the last quarter than the reference's, in points."""
    difference = late_row(evidence.comparison, claim.arm).spread_difference
    return Effect(scaled(difference, -100), evidence.n_units(claim.arm))


def narrower(evidence: Evidence, claim: Claim) -> Effect:
    """Compute by how much the gap between validation and training loss is narrower at the end, in nats."""
    mine, others = evidence.comparison.paired_figures(claim.arm, gap, claim.reference)
    return Effect(scaled(mean_interval(mine - others), -1), len(mine))


def less_noise(evidence: Evidence, claim: Claim) -> Effect:
    """Compute by how many percent the main gradient's noise scale is below the reference's.

    The noise scale is the gradient's variance over its squared norm, averaged over the run.
    """

    def scale(run: RunResult) -> float:
        return run.diagnostics.get(NOISE, np.nan)

    mine, others = evidence.comparison.paired_figures(claim.arm, scale, claim.reference)
    return Effect(below(ratio_interval(mine, others)), int(np.isfinite(mine - others).sum()))


def gained(evidence: Evidence, claim: Claim) -> Effect:
    """Compute the gain in final macro AUROC over the reference, in points."""
    return least_gained(evidence, [(claim.arm, claim.reference)])


def gained_when_stopped(evidence: Evidence, claim: Claim) -> Effect:
    """Compute the gain in macro AUROC, in points, each arm at the evaluation that is best by the other seeds or folds.

    So overfitting at the end of training does not count against an arm.
    """
    comparison = evidence.comparison
    cells = comparison.paired(claim.arm, claim.reference)
    mine, others = (stopped_scores(comparison, arm, cells) for arm in (claim.arm, claim.reference))
    return Effect(scaled(mean_interval(mine - others), 100), len(mine))


def gained_over_other_weights(evidence: Evidence, claim: Claim) -> Effect:
    """Compute the smallest gain over any other fixed weight of the sweep."""
    others = [arm for arm in swept(evidence.comparison, claim.sweep) if arm != claim.arm]
    return least_gained(evidence, [(claim.arm, other) for other in others])


def gained_in_range(evidence: Evidence, claim: Claim) -> Effect:
    """Compute the smallest gain over the reference of any fixed weight in the claim's range."""
    low, high = claim.weights
    inside = [arm for arm, weight in swept(evidence.comparison, claim.sweep).items() if low <= weight <= high]
    return least_gained(evidence, [(arm, claim.reference) for arm in inside])


def gained_over_tuned(evidence: Evidence, claim: Claim) -> Effect:
    """Compute the gain over the fixed weight that is best by the other seeds, or by the other folds.

    The score of the weight that is best by all of them would be optimistic.
    """
    comparison, resampled = evidence
    arm, runs, sweep = claim.arm, comparison.arms, list(swept(comparison, claim.sweep))
    cells = [cell for cell in runs[arm] if all(cell in runs[other] for other in sweep)]
    units = dict(zip(cells, comparison.units(cells).tolist(), strict=True))
    if len(sweep) < 2 or len(set(units.values())) < 2:
        return NOTHING

    def tuned(without: Cell) -> str:
        others = [cell for cell in cells if units[cell] != units[without]]
        return max(sweep, key=lambda name: sum(runs[name][cell].macro_auroc for cell in others))

    best = {cell: tuned(cell) for cell in cells}
    values = np.array([runs[arm][cell].macro_auroc - runs[best[cell]][cell].macro_auroc for cell in cells])
    by_unit, samples = mean_samples(
        comparison, cells, values, lambda cell: resampled[arm][cell] - resampled[best[cell]][cell]
    )
    return Effect(scaled(with_interval(by_unit, samples), 100), len(by_unit))


def least_gained(evidence: Evidence, pairs: Sequence[tuple[str, str]]) -> Effect:
    """Compute the smallest of several gains in final score.

    Its upper end allows for their number (Bonferroni). Its lower end need not, because all gains lie above a bound
    where all of their own intervals do (intersection-union test: Berger, 1982).
    """
    gains = [paired_samples(evidence.comparison, evidence.resampled, *pair) for pair in pairs]
    if not gains or not all(len(values) for values, _ in gains):
        return NOTHING
    least = Interval(
        min(float(values.mean()) for values, _ in gains),
        min(float(interval(samples)[0]) for _, samples in gains),
        min(float(interval(samples, 1 - 0.05 / len(pairs))[1]) for _, samples in gains),
    )
    return Effect(scaled(least, 100), min(len(values) for values, _ in gains))


def swept(comparison: Comparison, prefix: str) -> dict[str, float]:
    """Return the arms with a fixed weight, and that weight, which follows the prefix of their names."""
    matches = {arm: re.fullmatch(re.escape(prefix) + r"(\d+(?:\.\d+)?)", arm) for arm in comparison.arms}
    return {arm: float(match[1]) for arm, match in matches.items() if match}


def below(ratio: Interval) -> Interval:
    """Return by how many percent a ratio is below 1."""
    value, low, high = (100 * (1 - end) for end in ratio)
    return Interval(value, high, low)


def scaled(span: Interval, factor: float) -> Interval:
    """Multiply an interval by a factor, which may be negative."""
    value, *ends = (factor * end for end in span)
    return Interval(value, min(ends), max(ends))


EFFECTS: dict[EffectName, Callable[[Evidence, Claim], Effect]] = {
    "lower_loss": lower_loss,
    "saved": saved,
    "saved_time": saved_time,
    "calmer": calmer,
    "narrower": narrower,
    "less_noise": less_noise,
    "gained": gained,
    "gained_when_stopped": gained_when_stopped,
    "gained_over_other_weights": gained_over_other_weights,
    "gained_in_range": gained_in_range,
    "gained_over_tuned": gained_over_tuned,
}
