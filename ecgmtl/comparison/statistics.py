r"""What a few seeds can say: area under a learning curve, paired differences, intervals, p-values.

Runs of two arms with the same seed began alike and saw the same records in the same order, so all differences are
paired. How much few seeds can say, for differences between them that are normal:

- the exact sign-flip p-value is at least :math:`2^{1-n}`: 0.25 of 3 seeds, 0.0625 of 5, below 0.05 from 6 on;
- a percentile bootstrap over seeds covers the mean of 3 seeds in 68 % of cases, of 5 in 85 %, of 10 in 90 %, not in
  95 %; the t interval covers it in 95 %, at the price of being 2.2 times as wide as of many seeds for 3, 1.4 for 5.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.special import comb
from scipy.stats import t as student

MAX_RESAMPLES = 5**5
"""So many resamples of seeds are listed in full; of more seeds that many are drawn."""
MAX_FLIPS = 2**14
T_DRAWS = 10
"""For each resample of patients: a p-value that is to stand correction for fifty arms has to be able to be small."""
ROUNDING = 1e-12
"""Means closer than this are equal."""


class Interval(NamedTuple):
    value: float
    low: float
    high: float

    @property
    def has_width(self) -> bool:
        """Whether it tells anything: seeds that all agree give an interval of none."""
        return self.high - self.low > ROUNDING * abs(self.value)


UNKNOWN = Interval(np.nan, np.nan, np.nan)
"""Of a figure that is not defined."""


def seed_resamples(n_seeds: int, seed: int = 0) -> Int64[np.ndarray, "resample seed"]:
    """Places of the seeds in each resample: every one of the :math:`n^n` where they are few, else drawn."""
    if n_seeds**n_seeds <= MAX_RESAMPLES:
        return np.array(list(product(range(n_seeds), repeat=n_seeds)), dtype=np.int64)
    return np.random.default_rng(seed).integers(n_seeds, size=(MAX_RESAMPLES, n_seeds))


def learning_area(
    times: Float[np.ndarray, " evaluation"],
    scores: Float[np.ndarray, " evaluation"],
    budget: float,
    chance: float = 0.5,
) -> float:
    r"""Mean height of a learning curve, :math:`\frac{1}{B} \int_0^B m(t) dt`, by trapezoids.

    At time 0, and where the score is nan since the task is not yet learnt, the curve is at chance. A curve that ends
    before the budget goes on level.
    """
    known = np.where(np.isnan(scores), chance, scores)
    if times[0] > 0:
        times, known = np.append(0.0, times), np.append(chance, known)
    within = times < budget
    edges = np.append(times[within], budget)
    heights = np.append(known[within], np.interp(budget, times, known))
    return float(np.trapezoid(heights, edges) / budget)


def mean_interval(values: Float[np.ndarray, " seed"], level: float = 0.95) -> Interval:
    r"""Mean over seeds with its t interval, :math:`\bar d \pm t_{n-1} s / \sqrt n`; none of a single seed.

    Values that are nan are left out.
    """
    values = values[~np.isnan(values)]
    n = len(values)
    if n < 2:
        return Interval(float(values[0]) if n else np.nan, np.nan, np.nan)
    reach = float(student.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Interval(float(values.mean()), float(values.mean()) - reach, float(values.mean()) + reach)


def ratio_interval(
    values: Float[np.ndarray, " seed"], reference: Float[np.ndarray, " seed"], level: float = 0.95
) -> Interval:
    """Geometric mean of the paired ratios with the t interval of their logarithms; nan without positive values."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values) - np.log(reference)
    return Interval(*np.exp(mean_interval(np.where(np.isfinite(logs), logs, np.nan), level)).tolist())


def seed_bootstrap(values: Float[np.ndarray, " seed"], level: float = 0.95) -> Interval:
    """Mean over seeds with its percentile bootstrap interval; too narrow for few seeds, as said above."""
    means = values[seed_resamples(len(values))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def hierarchical_draws(
    values: Float[np.ndarray, " seed"], resampled: Float[np.ndarray, "seed resample"], seed: int = 0
) -> Float64[np.ndarray, " draw"]:
    r"""Draws of a mean over seeds as it would be with other seeds and other patients.

    `values` are each seed's figure (or paired difference), `resampled` the same over patients drawn again, the same
    draws for all seeds. The seeds' part is :math:`t_{n-1} s / \sqrt n`, what n normal values leave open about their
    mean: drawing the few seeds again as well, in place of it, let 95 % intervals cover 68 % to 95 % (3 seeds) and 85 %
    to 95 % (5 seeds) as the patients' part of the spread grew from nothing to twice the seeds'; this way they cover
    96 % to 98 % and 95 % to 97 %. A single seed leaves the patients' part alone.
    """
    draws = np.repeat(np.asarray(resampled.mean(axis=0), dtype=np.float64), T_DRAWS)
    n = len(values)
    if n < 2:
        return draws
    scale = values.std(ddof=1) / np.sqrt(n)
    return draws + scale * np.random.default_rng(seed).standard_t(n - 1, len(draws))


def bootstrap_p(draws: Float[np.ndarray, " draw"]) -> float:
    r"""Two-sided p-value of no difference: twice the smaller share of draws beyond 0, at least :math:`2 / (R + 1)`."""
    draws = draws[~np.isnan(draws)]
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(draws) + 1))


def sign_flip_p(differences: Float[np.ndarray, " seed"], seed: int = 0) -> float:
    r"""Exact two-sided p-value of paired differences: the share of all sign flips with as great a mean or greater.

    Assumes no more than that a difference is as likely to be as its negative; at least :math:`2^{1-n}`. From 15 seeds
    on flips are drawn.
    """
    n = len(differences)
    if 2**n <= MAX_FLIPS:
        signs = np.array(list(product((1.0, -1.0), repeat=n)))
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), size=(MAX_FLIPS, n))
        signs[0] = 1  # the differences as they are belong to their own distribution
    means = np.abs(signs @ differences) / n
    return float((means >= means[0] - ROUNDING).mean())


def holm(p: Float[np.ndarray, " test"]) -> Float64[np.ndarray, " test"]:
    r"""P-values adjusted so that a false finding anywhere is no likelier than the level (Holm, 1979).

    :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) p_{(j)})`; nan is no test and stays nan.
    """
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * p[order]))
    return adjusted


def best_of(scores: Float[np.ndarray, " trial"]) -> Float64[np.ndarray, " k"]:
    r"""Expected best validation score of k tried settings, for k from 1 to all of the n that were.

    :math:`\sum_i s_{(i)} \binom{i-1}{k-1} / \binom{n}{k}`: the mean over all subsets of k, which is unbiased (Tang et
    al., 2020), unlike drawing with replacement (Dodge et al., 2019).
    """
    n = len(scores)
    rank, k = np.arange(1, n + 1), np.arange(1, n + 1)[:, None]
    chances: Float64[np.ndarray, "k rank"] = comb(rank - 1, k - 1) / comb(n, k)
    return chances @ np.sort(scores)


def late_spread(times: Float[np.ndarray, " evaluation"], scores: Float[np.ndarray, " evaluation"]) -> float:
    """Standard deviation about a straight line over the last quarter of a curve; nan of fewer than 4 evaluations."""
    late = (times >= 0.75 * times[-1]) & ~np.isnan(scores)
    if late.sum() < 4:
        return float("nan")
    x = times[late] / times[-1]
    left = scores[late] - np.polyval(np.polyfit(x, scores[late], 1), x)
    return float(np.sqrt((left**2).sum() / (late.sum() - 2)))
