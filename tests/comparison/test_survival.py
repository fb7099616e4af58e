import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ecgmtl.comparison.survival import (
    kaplan_meier,
    median_time,
    restricted_mean,
    restricted_mean_ratio,
    restricted_mean_ratio_t,
    restricted_means,
    time_to_threshold,
)

TIMES, REACHED = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, False])
"""Four runs: two reach the threshold, one is censored between them, and one at the end."""
YES = np.array([True, True])


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ([0.5, 0.8, 0.8, 0.9], (2.0, True)),
        ([0.5, 0.8, 0.7, 0.9], (4.0, False)),  # neither the second nor the last score is held for two evaluations
        ([0.5, 0.8, 0.7, 0.9, 0.9], (3.5, True)),  # between evaluations, along the line from 0.7 to 0.9
        ([0.9, 0.9, 0.9, 0.9], (1.0, True)),
        ([np.nan, np.nan, 0.8, 0.8], (3.0, True)),
        ([0.8, np.nan, 0.7, 0.7], (4.0, False)),
        ([0.9], (1.0, False)),
    ],
)
def test_a_threshold_is_reached_where_it_is_held_for_two_evaluations(scores, found):
    assert time_to_threshold(np.arange(1.0, len(scores) + 1), np.array(scores), 0.8) == pytest.approx(found)


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 4))
def test_a_threshold_must_be_held_for_the_given_number_of_evaluations(above, hold):
    times = np.arange(1.0, len(above) + 1)
    starts = [place for place in range(len(above) - hold + 1) if all(above[place : place + hold])]
    expected = (float(times[starts[0]]), True) if starts else (float(times[-1]), False)
    scores = np.where(above, 1.0, np.nan)  # a rise from an undefined score is timed at its end
    assert time_to_threshold(times, scores, 0.5, hold) == expected


def test_kaplan_meier_by_hand():
    # a quarter reaches it at 1, none at 2, one of the remaining two at 3, and the last one never
    curve = kaplan_meier(TIMES, REACHED)
    np.testing.assert_allclose(curve.times, TIMES)
    np.testing.assert_allclose(curve.share, [3 / 4, 3 / 4, 3 / 8, 3 / 8])


def test_a_run_censored_at_an_event_time_is_still_at_risk():
    np.testing.assert_allclose(kaplan_meier(np.array([2.0, 2.0]), np.array([True, False])).share, [1 / 2])


@pytest.mark.parametrize("seed", range(5))
def test_kaplan_meier_agrees_with_scipy(seed):
    rng = np.random.default_rng(seed)
    times, reached = rng.integers(1, 6, 9).astype(float), rng.random(9) < 0.6
    expected = stats.ecdf(stats.CensoredData(times[reached], right=times[~reached])).sf
    curve = kaplan_meier(times, reached)
    np.testing.assert_allclose(curve.share, expected.evaluate(curve.times))


def test_the_median_is_the_time_at_which_half_have_reached_the_threshold():
    assert median_time(kaplan_meier(TIMES, REACHED)) == 3
    assert median_time(kaplan_meier(np.array([1.0, 5.0]), YES)) == 1
    assert np.isnan(median_time(kaplan_meier(TIMES, np.zeros(4, bool))))


@pytest.mark.parametrize(
    ("budget", "mean"),
    [
        (5.0, 1 + 2 * 3 / 4 + 2 * 3 / 8),  # survival stays constant after the end of the last run
        (3.5, 1 + 2 * 3 / 4 + 3 / 16),
        (2.0, 1 + 3 / 4),
        (0.5, 0.5),
    ],
)
def test_the_restricted_mean_is_the_area_under_kaplan_meier(budget, mean):
    assert restricted_mean(TIMES, REACHED, budget) == pytest.approx(mean)


def test_runs_that_never_reach_the_threshold_take_the_whole_budget():
    assert restricted_mean(np.array([10.0, 10.0]), ~YES, 10) == 10
    assert restricted_mean(np.array([4.0, 6.0]), ~YES, 10) == 10  # both ended early without reaching the threshold


def test_if_all_runs_reach_the_threshold_it_is_the_mean_time_within_the_budget():
    assert restricted_mean(np.array([1.0, 4.0, 9.0]), np.ones(3, bool), 6) == pytest.approx((1 + 4 + 6) / 3)


def test_a_weight_of_two_counts_a_run_twice():
    weights = np.array([[2.0, 0.0, 1.0, 1.0]])
    again = np.array([0, 0, 2, 3])
    expected = restricted_mean(TIMES[again], REACHED[again], 5)
    assert restricted_means(TIMES, REACHED, 5, weights) == pytest.approx(expected)


def test_a_ratio_that_seeds_agree_on_has_an_interval_of_no_width():
    arm, reference = (np.array([2.0, 4.0]), YES), (np.array([4.0, 8.0]), YES)
    for ratio in (restricted_mean_ratio, restricted_mean_ratio_t):
        assert ratio(arm, reference, 10) == pytest.approx((0.5, 0.5, 0.5))


def test_the_paired_bootstrap_of_a_ratio_by_hand():
    # both seeds as they are, or one of them twice: 5/4 two times, 1/2 and 2; extremes at the ends, a step of a third
    found = restricted_mean_ratio((np.array([1.0, 4.0]), YES), (np.array([2.0, 2.0]), YES), 10)
    low, high = np.quantile([0.5, 1.25, 1.25, 2.0], [0.025, 0.975])
    assert found == pytest.approx((1.25, low, high))


def test_the_jackknifed_interval_of_a_ratio_by_hand():
    # without one seed the ratio is 2, without the other 1/2: pseudo-values 2 ln 1.25 ∓ ln 2, standard error ln 2
    found = restricted_mean_ratio_t((np.array([1.0, 4.0]), YES), (np.array([2.0, 2.0]), YES), 10)
    reach = 2 ** stats.t.ppf(0.975, 1)
    assert found == pytest.approx((1.25, 1.25 / reach, 1.25 * reach))


def test_an_arm_that_is_censored_is_slower_by_the_budget_at_least():
    found = restricted_mean_ratio((np.array([8.0, 8.0]), ~YES), (np.array([2.0, 2.0]), YES), 8)
    assert found == pytest.approx((4, 4, 4))


def test_the_ratio_is_undefined_if_no_run_reaches_the_threshold():
    never = (np.array([8.0, 8.0]), ~YES)
    assert np.isnan(restricted_mean_ratio(never, never, 8)).all()
    assert np.isnan(restricted_mean_ratio_t(never, never, 8)).all()


def test_a_single_seed_has_a_ratio_and_no_t_interval():
    one = (np.array([2.0]), np.array([True]))
    np.testing.assert_equal(restricted_mean_ratio_t(one, one, 8), (1.0, np.nan, np.nan))
