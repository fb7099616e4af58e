"""Time to a threshold as survival data: a run that never gets there is censored, not left out and not late."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from ecgmtl.comparison.statistics import ROUNDING, UNKNOWN, Interval, mean_interval, seed_resamples

Ended = tuple[Float[np.ndarray, " run"], Bool[np.ndarray, " run"]]
"""When each run got there, or ended without (False: censored)."""


class Survival(NamedTuple):
    """Kaplan-Meier: the share of runs that have not got there, from each time on."""

    times: Float64[np.ndarray, " time"]
    share: Float64[np.ndarray, " time"]


def time_to_threshold(
    times: Float[np.ndarray, " evaluation"], scores: Float[np.ndarray, " evaluation"], threshold: float, hold: int = 2
) -> tuple[float, bool]:
    """When the score first reached the threshold to stay there for `hold` evaluations; else the last time, and False.

    Between the evaluation before and the first of these it is taken to have risen in a straight line. A score that is
    nan is below. Whether the last evaluation alone would have held is not known: it does not count.
    """
    above = np.append(scores >= threshold, np.zeros(hold - 1, bool))
    first = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(above, hold).all(axis=1))
    if not len(first):
        return float(times[-1]), False
    place = int(first[0])
    if place == 0 or np.isnan(scores[place - 1]):
        return float(times[place]), True
    rise = (threshold - scores[place - 1]) / (scores[place] - scores[place - 1])
    return float(times[place - 1] + rise * (times[place] - times[place - 1])), True


def weighted_survival(
    times: Float[np.ndarray, " run"], reached: Bool[np.ndarray, " run"], weights: Float[np.ndarray, "resample run"]
) -> tuple[Float64[np.ndarray, " time"], Float64[np.ndarray, "resample time"]]:
    r"""Distinct times, and after each :math:`S = \prod (1 - d / n)` where a run counts as often as its weight.

    Of :math:`n` runs under way, :math:`d` get there at that time; those censored then are still under way (Kaplan and
    Meier, 1958).
    """
    distinct, place = np.unique(times, return_inverse=True)
    ends_at = np.eye(len(distinct))[place]
    under_way = (weights @ ends_at)[:, ::-1].cumsum(axis=1)[:, ::-1]
    lost = (weights * reached) @ ends_at / np.where(under_way > 0, under_way, 1)
    return distinct.astype(np.float64), (1 - lost).cumprod(axis=1)


def kaplan_meier(times: Float[np.ndarray, " run"], reached: Bool[np.ndarray, " run"]) -> Survival:
    """`times` at which runs got there, or ended without (not `reached`: censored)."""
    distinct, share = weighted_survival(times, reached, np.ones((1, len(times))))
    return Survival(distinct, share[0])


def median_time(curve: Survival) -> float:
    """When half of the runs have got there; nan if they never have."""
    half = np.flatnonzero(curve.share <= 0.5 + ROUNDING)
    return float(curve.times[half[0]]) if len(half) else float("nan")


def restricted_means(
    times: Float[np.ndarray, " run"],
    reached: Bool[np.ndarray, " run"],
    budget: float,
    weights: Float[np.ndarray, "resample run"],
) -> Float64[np.ndarray, " resample"]:
    r"""Mean time to get there, counting at most the budget: :math:`\int_0^B S(t) dt`, a value a row of weights.

    Where all runs were censored before the budget, S stays as it was.
    """
    distinct, share = weighted_survival(times, reached, weights)
    edges = np.clip(np.concatenate([[0.0], distinct, [np.inf]]), 0, budget)
    before = np.concatenate([np.ones((len(share), 1)), share], axis=1)
    return before @ np.diff(edges)


def restricted_mean(times: Float[np.ndarray, " run"], reached: Bool[np.ndarray, " run"], budget: float) -> float:
    """The restricted mean of the runs as they are."""
    return float(restricted_means(times, reached, budget, np.ones((1, len(times))))[0])


def restricted_mean_ratio(arm: Ended, reference: Ended, budget: float) -> Interval:
    """Ratio of restricted means with its 95 % paired percentile bootstrap over seeds; nan where no run got there.

    Both have the same seeds in the same order. Below 1 the arm is the faster one. Of few seeds the interval is too
    narrow, as a percentile bootstrap is: see `restricted_mean_ratio_t`.
    """
    if not (arm[1].any() or reference[1].any()):
        return UNKNOWN
    picks = seed_resamples(len(arm[0]))
    counts = (picks[:, :, None] == np.arange(len(arm[0]))).sum(axis=1).astype(np.float64)
    low, high = np.quantile(ratios(arm, reference, budget, counts), [0.025, 0.975])
    return Interval(whole_ratio(arm, reference, budget), float(low), float(high))


def restricted_mean_ratio_t(arm: Ended, reference: Ended, budget: float) -> Interval:
    r"""The same ratio with the t interval of its logarithm, from the jackknife over seeds.

    Pseudo-values :math:`n \ell - (n - 1) \ell_{-i}` of the logarithm :math:`\ell` of the ratio (Tukey, 1958).
    """
    n = len(arm[0])
    value = whole_ratio(arm, reference, budget) if arm[1].any() or reference[1].any() else np.nan
    if n < 2 or np.isnan(value):
        return Interval(value, np.nan, np.nan)
    without = np.log(ratios(arm, reference, budget, 1 - np.eye(n)))
    pseudo = mean_interval(n * np.log(value) - (n - 1) * without)
    reach = np.exp(pseudo.high - pseudo.value)
    return Interval(value, float(value / reach), float(value * reach))


def ratios(
    arm: Ended, reference: Ended, budget: float, weights: Float[np.ndarray, "resample run"]
) -> Float64[np.ndarray, " resample"]:
    return restricted_means(*arm, budget, weights) / restricted_means(*reference, budget, weights)


def whole_ratio(arm: Ended, reference: Ended, budget: float) -> float:
    return float(ratios(arm, reference, budget, np.ones((1, len(arm[0]))))[0])
