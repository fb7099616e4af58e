"""Time to a threshold as survival data. A run that never reaches the threshold is censored, not left out."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from ecgmtl.comparison.statistics import ROUNDING, UNKNOWN, Interval, mean_interval, seed_resamples

EventTimes = tuple[Float[np.ndarray, " run"], Bool[np.ndarray, " run"]]
"""Time at which each run reached the threshold or ended, and whether it reached it. Otherwise it is censored."""
Units = Int64[np.ndarray, " run"]
"""Number of the independent unit that each run belongs to: its fold, or its seed."""


class Survival(NamedTuple):
    """Kaplan-Meier estimate: the fraction of runs that have not reached the threshold, from each time on."""

    times: Float64[np.ndarray, " time"]
    share: Float64[np.ndarray, " time"]


def time_to_threshold(
    times: Float[np.ndarray, " evaluation"], scores: Float[np.ndarray, " evaluation"], threshold: float, hold: int = 2
) -> tuple[float, bool]:
    """Return when the score first reached the threshold and held it for `hold` evaluations, or the last time and False.

    The time is interpolated linearly from the evaluation before. A score that is nan counts as below. The last
    evaluation alone does not count, because it is not known whether the score would have been held.
    """
    above = np.append(scores >= threshold, np.zeros(hold - 1, bool))
    first = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(above, hold).all(axis=1))
    if not len(first):
        return float(times[-1]), False
    index = int(first[0])
    if index == 0 or np.isnan(scores[index - 1]):
        return float(times[index]), True
    rise = (threshold - scores[index - 1]) / (scores[index] - scores[index - 1])
    return float(times[index - 1] + rise * (times[index] - times[index - 1])), True


def weighted_survival(
    times: Float[np.ndarray, " run"], reached: Bool[np.ndarray, " run"], weights: Float[np.ndarray, "resample run"]
) -> tuple[Float64[np.ndarray, " time"], Float64[np.ndarray, "resample time"]]:
    r"""Return the distinct times, and :math:`S = \prod (1 - d / n)` after each, with runs counted by their weights.

    Of :math:`n` runs at risk, :math:`d` reach the threshold at that time. Runs censored at that time are still at risk
    (Kaplan and Meier, 1958).
    """
    distinct, index = np.unique(times, return_inverse=True)
    ends_at = np.eye(len(distinct))[index]
    at_risk = (weights @ ends_at)[:, ::-1].cumsum(axis=1)[:, ::-1]
    events = (weights * reached) @ ends_at / np.where(at_risk > 0, at_risk, 1)
    return distinct.astype(np.float64), (1 - events).cumprod(axis=1)


def kaplan_meier(times: Float[np.ndarray, " run"], reached: Bool[np.ndarray, " run"]) -> Survival:
    """Return the Kaplan-Meier estimate of runs that reached the threshold at `times`, or were censored there."""
    distinct, share = weighted_survival(times, reached, np.ones((1, len(times))))
    return Survival(distinct, share[0])


def median_time(curve: Survival) -> float:
    """Return the time at which half of the runs have reached the threshold, or nan if that never happens."""
    half = np.flatnonzero(curve.share <= 0.5 + ROUNDING)
    return float(curve.times[half[0]]) if len(half) else float("nan")


def restricted_means(
    times: Float[np.ndarray, " run"],
    reached: Bool[np.ndarray, " run"],
    budget: float,
    weights: Float[np.ndarray, "resample run"],
) -> Float64[np.ndarray, " resample"]:
    r"""Return the mean time restricted to the budget, :math:`\int_0^B S(t) dt`, for each row of weights.

    If all runs are censored before the budget, S keeps its last value.
    """
    distinct, share = weighted_survival(times, reached, weights)
    edges = np.clip(np.concatenate([[0.0], distinct, [np.inf]]), 0, budget)
    before = np.concatenate([np.ones((len(share), 1)), share], axis=1)
    return before @ np.diff(edges)


def restricted_mean(times: Float[np.ndarray, " run"], reached: Bool[np.ndarray, " run"], budget: float) -> float:
    """Return the restricted mean with equal weights."""
    return float(restricted_means(times, reached, budget, np.ones((1, len(times))))[0])


def restricted_mean_ratio(
    arm: EventTimes, reference: EventTimes, budget: float, units: Units | None = None
) -> Interval:
    """Return the ratio of restricted means with its 95 % paired percentile bootstrap over units.

    It is nan if no run reached the threshold. Both arms have runs of the same units in the same order, and each run is
    a unit of its own if `units` is None. Below 1 the arm is faster. With few units a percentile bootstrap is too
    narrow: see `restricted_mean_ratio_t`.
    """
    if not (arm[1].any() or reference[1].any()):
        return UNKNOWN
    distinct, unit = np.unique(np.arange(len(arm[0])) if units is None else units, return_inverse=True)
    picks = seed_resamples(len(distinct))
    counts = (picks[:, :, None] == np.arange(len(distinct))).sum(axis=1).astype(np.float64)[:, unit]
    low, high = np.quantile(ratios(arm, reference, budget, counts), [0.025, 0.975])
    return Interval(whole_ratio(arm, reference, budget), float(low), float(high))


def restricted_mean_ratio_t(
    arm: EventTimes, reference: EventTimes, budget: float, units: Units | None = None
) -> Interval:
    r"""Return the same ratio with the t interval of its logarithm, from the jackknife over units.

    The interval is that of the pseudo-values :math:`n \ell - (n - 1) \ell_{-i}`, where :math:`\ell` is the logarithm
    of the ratio (Tukey, 1958).
    """
    units = np.arange(len(arm[0])) if units is None else units
    distinct = np.unique(units)
    n = len(distinct)
    value = whole_ratio(arm, reference, budget) if arm[1].any() or reference[1].any() else np.nan
    if n < 2 or np.isnan(value):
        return Interval(value, np.nan, np.nan)
    without = np.log(ratios(arm, reference, budget, (units != distinct[:, None]).astype(np.float64)))
    pseudo = mean_interval(n * np.log(value) - (n - 1) * without)
    factor = np.exp(pseudo.high - pseudo.value)
    return Interval(value, float(value / factor), float(value * factor))


def ratios(
    arm: EventTimes, reference: EventTimes, budget: float, weights: Float[np.ndarray, "resample run"]
) -> Float64[np.ndarray, " resample"]:
    """Return the ratio of restricted means for each row of weights."""
    return restricted_means(*arm, budget, weights) / restricted_means(*reference, budget, weights)


def whole_ratio(arm: EventTimes, reference: EventTimes, budget: float) -> float:
    """Return the ratio of restricted means with equal weights."""
    return float(ratios(arm, reference, budget, np.ones((1, len(arm[0]))))[0])
