import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ecgmtl.comparison.statistics import (
    MAX_RESAMPLES,
    T_SAMPLES,
    best_of,
    bootstrap_p,
    hierarchical_samples,
    holm,
    late_spread,
    learning_area,
    mean_interval,
    ratio_interval,
    seed_bootstrap,
    seed_resamples,
    sign_flip_p,
)
from ecgmtl.metrics.bootstrap import interval

SEEDS = np.array([0.81, 0.84, 0.80, 0.86, 0.83])


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_of_a_mean_is_that_of_scipys_t_test(n, level):
    found = mean_interval(SEEDS[:n], level)
    expected = stats.ttest_1samp(SEEDS[:n], 0).confidence_interval(level)
    assert found == pytest.approx((SEEDS[:n].mean(), expected.low, expected.high))


def test_the_interval_of_a_score_stays_between_0_and_1():
    two_seeds = mean_interval(np.array([0.93, 0.98]))
    assert two_seeds.high > 1
    assert two_seeds.as_share() == (two_seeds.value, two_seeds.low, 1.0)
    assert np.isnan(mean_interval(np.array([0.9])).as_share()[1:]).all()


def test_a_single_seed_has_a_mean_and_no_interval():
    np.testing.assert_equal(mean_interval(np.array([0.7])), (0.7, np.nan, np.nan))
    assert np.isnan(mean_interval(np.array([]))).all()


def test_undefined_values_are_left_out_of_a_mean():
    assert mean_interval(np.array([1.0, np.nan, 3.0])) == mean_interval(np.array([1.0, 3.0]))


def test_a_ratio_is_a_geometric_mean_and_turns_over_with_its_arms():
    # the ratios 1 and 4 have the geometric mean 2; logarithms 0 and ln 4 have s / sqrt 2 = ln 2, times t_1 = 12.706
    low, high = 2 * 2**-12.7062, 2 * 2**12.7062
    a, b = np.array([3.0, 8.0]), np.array([3.0, 2.0])
    assert ratio_interval(a, b) == pytest.approx((2, low, high), rel=1e-4)
    assert ratio_interval(b, a) == pytest.approx((1 / 2, 1 / high, 1 / low), rel=1e-4)


def test_a_ratio_to_zero_is_left_out():
    assert ratio_interval(np.array([2.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0])).value == 2
    assert np.isnan(ratio_interval(np.array([0.0]), np.array([1.0]))).all()


@pytest.mark.parametrize(
    ("budget", "area"),
    [
        (2.0, 0.70),  # (0.5 + 0.7) / 2 and (0.7 + 0.9) / 2, over 2
        (1.5, (0.6 + 0.375) / 1.5),  # half of the second piece, from 0.7 to 0.8
        (4.0, (0.6 + 0.8 + 2 * 0.9) / 4),  # continues at the last value
    ],
)
def test_the_area_under_a_curve_is_its_mean_height_from_chance(budget, area):
    assert learning_area(np.array([1.0, 2.0]), np.array([0.7, 0.9]), budget) == pytest.approx(area)


def test_a_curve_is_at_chance_while_the_task_is_not_learned():
    scores = np.array([np.nan, np.nan, 0.9])
    # 0.5 for two units, then up to 0.9 in one
    assert learning_area(np.array([1.0, 2.0, 3.0]), scores, 3.0) == pytest.approx((2 * 0.5 + 0.7) / 3)


def test_p_values_are_corrected_by_holms_method():
    # sorted 0.01, 0.03, 0.04 times 3, 2, 1 gives 0.03, 0.06, 0.04; the last may not be below the one before
    found = holm(np.array([0.04, 0.01, np.nan, 0.03]))
    np.testing.assert_allclose(found, [0.06, 0.03, np.nan, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrected_p_values_keep_their_order_and_are_never_smaller(p):
    p = np.array(p)
    found = holm(p)
    assert (found >= p).all()
    assert (found <= 1).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= 0).all()
    assert found.min() == min(1, len(p) * p.min())


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3], 2 / 8),  # only all plus and all minus have a mean of 2
        ([1, 1, -1], 1),  # all flips have a mean of 1/3 or more
        ([3, 2, -1], 4 / 8),  # of ±3 ±2 ±1, the sums 6, 4, -4, -6 reach 4
        ([2, 2, 2, 2, 2], 2 / 32),
        ([0, 0], 1),
    ],
)
def test_sign_flips_give_p_values_counted_by_hand(differences, p):
    assert sign_flip_p(np.array(differences, dtype=float)) == p


@pytest.mark.parametrize("n", [4, 7])
def test_sign_flips_agree_with_scipy(rng, n):
    differences = rng.normal(0.5, 1, n)
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples")
    assert sign_flip_p(differences) == pytest.approx(expected.pvalue)


def test_sampled_sign_flips_approximate_all_of_them(rng):
    differences = rng.normal(0.3, 1, 15)
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=10**5)
    assert sign_flip_p(differences) == pytest.approx(expected.pvalue, abs=0.02)


def test_few_seeds_are_resampled_in_every_way_and_many_at_random():
    assert len({tuple(row) for row in seed_resamples(3)}) == 3**3
    resamples = seed_resamples(7)
    assert resamples.shape == (MAX_RESAMPLES, 7)
    assert set(resamples.ravel()) == set(range(7))
    np.testing.assert_array_equal(resamples, seed_resamples(7))


def test_the_bootstrap_over_seeds_is_that_of_all_means():
    # of 0 and 1 the means are 0, 0.5, 0.5, 1; a quarter of the way from 0 to 1 in three steps is 0.375
    assert seed_bootstrap(np.array([0.0, 1.0]), level=0.5) == (0.5, pytest.approx(0.375), pytest.approx(0.625))


def cover(rng, patients, n_seeds=3, n_experiments=400):
    """Return how often the intervals contain 0, the true mean, with a standard deviation of 1 over seeds."""
    n_covered = {"resampled seeds": 0, "t": 0}
    for _ in range(n_experiments):
        values = rng.normal(0, 1, n_seeds) + rng.normal(0, patients)
        resampled = values[:, None] + rng.normal(0, patients, 200)
        for name, (low, high) in {
            "t": interval(hierarchical_samples(values, resampled)),
            "resampled seeds": seed_bootstrap(values)[1:],
        }.items():
            n_covered[name] += low <= 0 <= high
    return {name: count / n_experiments for name, count in n_covered.items()}


@pytest.mark.parametrize("patients", [0, 1, 2])
@pytest.mark.parametrize("n_seeds", [3, 5])
def test_intervals_over_seeds_and_patients_have_their_nominal_coverage(rng, patients, n_seeds):
    assert 0.93 <= cover(rng, patients, n_seeds)["t"] <= 0.995  # standard error 0.011


def test_the_bootstrap_over_three_seeds_covers_too_little(rng):
    assert cover(rng, patients=0)["resampled seeds"] == pytest.approx(0.75, abs=0.06)


def test_seeds_that_agree_contribute_no_spread():
    resampled = np.array([[1.0, 2.0], [3.0, 4.0]])
    found = hierarchical_samples(np.array([0.5, 0.5]), resampled)
    np.testing.assert_array_equal(found, np.repeat([2.0, 3.0], T_SAMPLES))
    np.testing.assert_array_equal(np.unique(hierarchical_samples(np.array([0.5]), resampled[:1])), [1.0, 2.0])


def test_a_p_value_counts_samples_on_the_other_side():
    # one of four draws is not above 0: 2 (1 + 1) / (4 + 1)
    assert bootstrap_p(np.array([1.0, 2.0, 3.0, -1.0, np.nan])) == pytest.approx(0.8)
    assert bootstrap_p(np.ones(99)) == pytest.approx(2 / 100)
    assert bootstrap_p(np.zeros(99)) == 1


def test_p_values_can_be_small_enough_for_fifty_arms(rng):
    samples = hierarchical_samples(np.array([0.5, 0.5001, 0.4999]), rng.normal(0.5, 0.001, (3, 2000)))
    assert 50 * bootstrap_p(samples) < 0.05


def test_the_best_of_k_is_the_mean_over_all_choices_of_k():
    # of {0.1, 0.2, 0.3}: single ones 0.2; the better of each pair 0.2, 0.3, 0.3; all three 0.3
    np.testing.assert_allclose(best_of(np.array([0.3, 0.1, 0.2])), [0.2, 0.8 / 3, 0.3])


def test_the_late_spread_is_that_about_a_line(rng):
    times, scores = np.arange(1.0, 21), rng.normal(0, 0.01, 20) + np.arange(20) / 100
    late = slice(14, None)  # from 15 on, three quarters of 20
    line = stats.linregress(times[late], scores[late])
    left = scores[late] - line.intercept - line.slope * times[late]
    assert late_spread(times, scores) == pytest.approx(np.sqrt((left**2).sum() / 4))
    assert late_spread(times, times / 50) == pytest.approx(0, abs=1e-12)


def test_the_late_spread_of_few_evaluations_is_undefined():
    assert np.isnan(late_spread(np.arange(1.0, 9), np.arange(8.0)))  # 6, 7 and 8
