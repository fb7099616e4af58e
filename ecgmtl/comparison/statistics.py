r"""Statistics of a few seeds: area under a learning curve, paired differences, intervals, p-values.

Runs of two arms with the same seed start alike and see the same records in the same order, so all differences are
paired. If differences between seeds are normal, few seeds have these limits:

- The exact sign-flip p-value is at least :math:`2^{1-n}`: 0.25 with 3 seeds, 0.0625 with 5, below 0.05 from 6 on.
- A 95 % percentile bootstrap over seeds covers the mean in 68 % of cases with 3 seeds, 85 % with 5, 90 % with 10.
- The t interval covers it in 95 %, but is 2.2 times as wide with 3 seeds, and 1.4 times with 5, as with many.
"""

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.optimize import brentq
from scipy.special import comb
from scipy.stats import nct
from scipy.stats import t as student

MAX_RESAMPLES = 5**5
"""Number of resamples of seeds. If there are at most so many, all are listed, otherwise they are sampled."""
MAX_FLIPS = 2**14
"""Number of sign flips. If there are at most so many, all are listed, otherwise they are sampled."""
T_SAMPLES = 10
"""Samples of the t distribution per resample of patients: p-values have to survive correction for fifty arms."""
SEED = 0
"""Seed of all samples here, so that a report can be repeated."""
CHANCE = 0.5
"""Macro AUROC of a model that has learned nothing."""
POWER = 0.8
"""Probability with which the smallest effect is detected."""
LEVEL = 0.05
"""Corrected p-value below which an arm is called better or worse, and a claim is decided."""
N_QUANTILES = 200_000
"""Number of quantiles that stand for a t distribution: the smallest p-value is twice its inverse."""
ROUNDING = 1e-12
"""Difference below which numbers count as equal."""


class Interval(NamedTuple):
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float

    @property
    def has_width(self) -> bool:
        """Whether the interval has a width. Seeds that all agree give none."""
        return self.high - self.low > ROUNDING * abs(self.value)

    def as_share(self) -> "Interval":
        """Return the interval of a score that lies between 0 and 1. Of few seeds, a t interval may go beyond."""
        return Interval(self.value, *np.clip((self.low, self.high), 0.0, 1.0).tolist())


UNKNOWN = Interval(np.nan, np.nan, np.nan)
"""Interval of an undefined figure."""


def seed_resamples(n_seeds: int) -> Int64[np.ndarray, "resample seed"]:
    """Return the indices of the seeds in each resample: all :math:`n^n` if they are few, otherwise a sample."""
    if n_seeds**n_seeds <= MAX_RESAMPLES:
        return np.array(list(product(range(n_seeds), repeat=n_seeds)), dtype=np.int64)
    return np.random.default_rng(SEED).integers(n_seeds, size=(MAX_RESAMPLES, n_seeds))


def learning_area(
    times: Float[np.ndarray, " evaluation"],
    scores: Float[np.ndarray, " evaluation"],
    budget: float,
) -> float:
    r"""Compute the mean height of a learning curve, :math:`\frac{1}{B} \int_0^B m(t) dt`, by trapezoids.

    At time 0, and while the score is nan because the task is not yet learned, the curve is at chance. A curve that ends
    before the budget is extended at its last height.
    """
    known = np.where(np.isnan(scores), CHANCE, scores)
    if times[0] > 0:
        times, known = np.append(0.0, times), np.append(CHANCE, known)
    within = times < budget
    edges = np.append(times[within], budget)
    heights = np.append(known[within], np.interp(budget, times, known))
    return float(np.trapezoid(heights, edges) / budget)


def mean_interval(values: Float[np.ndarray, " seed"], level: float = 0.95) -> Interval:
    r"""Return the mean over seeds with its t interval, :math:`\bar d \pm t_{n-1} s / \sqrt n`.

    A single seed has no interval. Values that are nan are left out.
    """
    values = values[~np.isnan(values)]
    n = len(values)
    if n < 2:
        return Interval(float(values[0]) if n else np.nan, np.nan, np.nan)
    half_width = float(student.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Interval(float(values.mean()), float(values.mean()) - half_width, float(values.mean()) + half_width)


def ratio_interval(
    values: Float[np.ndarray, " seed"], reference: Float[np.ndarray, " seed"], level: float = 0.95
) -> Interval:
    """Return the geometric mean of paired ratios with the t interval of their logarithms.

    Ratios that are not positive and finite are left out.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values) - np.log(reference)
    return Interval(*np.exp(mean_interval(np.where(np.isfinite(logs), logs, np.nan), level)).tolist())


def seed_bootstrap(values: Float[np.ndarray, " seed"], level: float = 0.95) -> Interval:
    """Return the mean over seeds with its percentile bootstrap interval, which is too narrow for few seeds."""
    means = values[seed_resamples(len(values))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def hierarchical_samples(
    values: Float[np.ndarray, " seed"], resampled: Float[np.ndarray, "seed resample"]
) -> Float64[np.ndarray, " sample"]:
    r"""Sample the mean over seeds as it would be with other seeds and other patients.

    `values` has each seed's figure (or paired difference), and `resampled` the same figure over resampled patients,
    with the same resamples for all seeds. Seeds contribute :math:`t_{n-1} s / \sqrt n`, the uncertainty of the mean of
    n normal values. If the few seeds were resampled instead, 95 % intervals would cover 68 % to 95 % (3 seeds) and
    85 % to 95 % (5 seeds), as the patients' part of the spread grows from nothing to twice the seeds'. This way they
    cover 96 % to 98 % and 95 % to 97 %. A single seed contributes nothing.
    """
    samples = np.repeat(np.asarray(resampled.mean(axis=0), dtype=np.float64), T_SAMPLES)
    n = len(values)
    if n < 2:
        return samples
    scale = values.std(ddof=1) / np.sqrt(n)
    return samples + scale * np.random.default_rng(SEED).standard_t(n - 1, len(samples))


def t_samples(values: Float[np.ndarray, " unit"]) -> Float64[np.ndarray, " sample"]:
    r"""Return the mean over independent units with its uncertainty, as evenly spaced quantiles.

    They are those of :math:`\bar d + t_{n-1} s / \sqrt n`, so their percentiles are the ends of the t interval. With a
    single unit the only sample is nan.
    """
    n = len(values)
    if n < 2:
        return np.full(1, np.nan)
    return np.asarray(values.mean() + values.std(ddof=1) / np.sqrt(n) * t_quantiles(n - 1), dtype=np.float64)


@lru_cache(maxsize=4)
def t_quantiles(freedom: int) -> Float64[np.ndarray, " sample"]:
    """Return evenly spaced quantiles of the t distribution."""
    return np.asarray(student.ppf((np.arange(N_QUANTILES) + 0.5) / N_QUANTILES, freedom), dtype=np.float64)


def power_factor(n: int, level: float) -> float:
    r"""Return the smallest mean of n values that a two-sided t test detects, as a multiple of the 95 % half-width.

    The statistic is noncentral t: :math:`P(T_{n-1}(\delta) > t_{1 - \alpha / 2}) = 1 - \beta` is solved for
    :math:`\delta`, the mean in standard errors, with the level :math:`\alpha` and the power :math:`1 - \beta`,
    which is 80 %.
    """
    critical = student.ppf(1 - level / 2, n - 1)
    delta = brentq(lambda shift: nct.sf(critical, n - 1, shift) - POWER, 0, 3 * critical + 10)
    return float(delta / student.ppf(0.975, n - 1))


def t_test_p(span: Interval, n: int, bound: float = 0.0) -> float:
    """Return the two-sided p-value of a mean at the bound, from its t interval over n values.

    The half-width is that of the side on which the bound lies, so p is below 0.05 if the interval excludes the bound.
    """
    half_width = span.value - span.low if span.value > bound else span.high - span.value
    if n < 2 or not half_width > 0:
        return np.nan
    error = half_width / student.ppf(0.975, n - 1)
    return float(2 * student.sf(abs(span.value - bound) / error, n - 1))


def bootstrap_p(samples: Float[np.ndarray, " sample"]) -> float:
    r"""Return the two-sided p-value of no difference.

    It is twice the smaller fraction of samples on one side of 0, and at least :math:`2 / (R + 1)` for R samples.
    """
    samples = samples[~np.isnan(samples)]
    beyond = min(int((samples <= 0).sum()), int((samples >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(samples) + 1))


def sign_flip_p(differences: Float[np.ndarray, " seed"]) -> float:
    r"""Return the exact two-sided p-value of paired differences by sign flips.

    It is the fraction of all sign flips whose mean is at least as large. It assumes only that a difference is as
    likely as its negative, and is at least :math:`2^{1-n}`. From 15 seeds on, sign flips are sampled.
    """
    n = len(differences)
    if 2**n <= MAX_FLIPS:
        signs = np.array(list(product((1.0, -1.0), repeat=n)))
    else:
        signs = np.random.default_rng(SEED).choice((1.0, -1.0), size=(MAX_FLIPS, n))
        signs[0] = 1  # the differences as they are belong to their own distribution
    means = np.abs(signs @ differences) / n
    return float((means >= means[0] - ROUNDING).mean())


def holm(p: Float[np.ndarray, " test"]) -> Float64[np.ndarray, " test"]:
    r"""Adjust p-values so that the probability of any false finding is at most the level (Holm, 1979).

    :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) p_{(j)})`; nan stays nan and does not count as a test.
    """
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * p[order]))
    return adjusted


def best_of(scores: Float[np.ndarray, " trial"]) -> Float64[np.ndarray, " k"]:
    r"""Return the expected best validation score of k tried settings, for k from 1 to the number n of all trials.

    :math:`\sum_i s_{(i)} \binom{i-1}{k-1} / \binom{n}{k}`: the mean over all subsets of k, which is unbiased (Tang et
    al., 2020), unlike sampling with replacement (Dodge et al., 2019).
    """
    n = len(scores)
    rank, k = np.arange(1, n + 1), np.arange(1, n + 1)[:, None]
    chances: Float64[np.ndarray, "k rank"] = comb(rank - 1, k - 1) / comb(n, k)
    return chances @ np.sort(scores)


def late_spread(times: Float[np.ndarray, " evaluation"], scores: Float[np.ndarray, " evaluation"]) -> float:
    """Return the standard deviation about a line fitted to the last quarter of a curve.

    It is nan if there are fewer than 4 evaluations.
    """
    late = (times >= 0.75 * times[-1]) & ~np.isnan(scores)
    if late.sum() < 4:
        return float("nan")
    x = times[late] / times[-1]
    residuals = scores[late] - np.polyval(np.polyfit(x, scores[late], 1), x)
    return float(np.sqrt((residuals**2).sum() / (late.sum() - 2)))
