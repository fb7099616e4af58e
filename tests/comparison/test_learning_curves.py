"""Learning curves of a simulated comparison, compared with the simulated effects."""

import numpy as np
import pytest

from ecgmtl.comparison.comparison import read_comparison
from ecgmtl.comparison.course import course
from ecgmtl.comparison.learning_curves import (
    course_row,
    course_rows,
    event_times,
    late_rows,
    threshold_row,
    threshold_rows,
)
from ecgmtl.comparison.statistics import learning_area, mean_interval, ratio_interval
from tests.comparisons import ARMS, N_POINTS, write_comparison


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    write_comparison(folder)
    return read_comparison(folder)


def with_points(comparison, arm, **changes):
    """Return the comparison with changed figures at every point of an arm's curves."""
    runs = {
        seed: run.model_copy(update={"curve": tuple(point.model_copy(update=changes) for point in run.curve)})
        for seed, run in comparison.arms[arm].items()
    }
    return type(comparison)(comparison.truth, comparison.arms | {arm: runs})


def test_every_arm_has_a_row_and_one_without_pretraining_where_there_was_some(comparison):
    rows = [(row.arm, row.counts_pretraining) for row in course_rows(comparison)]
    assert [arm for arm, counts in rows if counts] == list(comparison.arms)
    assert [arm for arm, counts in rows if not counts] == ["pretrain"]


def test_an_area_is_between_chance_and_the_references_final_score(comparison):
    runs = comparison.arms["uncertainty"].values()
    areas = [
        learning_area(
            np.array([point.samples_seen for point in run.curve], float),
            np.array([point.macro_auroc for point in run.curve]),
            comparison.budget(),
        )
        for run in runs
    ]
    scaled = (np.array(areas) - 0.5) / (comparison.reference_final() - 0.5)
    assert course_row(comparison, "uncertainty", counts_pretraining=True).area == pytest.approx(mean_interval(scaled))


def test_areas_and_losses_differ_in_the_direction_of_the_effect(comparison):
    rows = {(row.arm, row.counts_pretraining): row for row in course_rows(comparison)}
    faster, slower, free = rows["fixed_1", True], rows["fixed_10", True], rows["pretrain", False]
    assert faster.area_difference.low > 0 > slower.area_difference.high
    assert faster.loss_at_50.high < 1 < slower.loss_at_50.low
    assert rows["pretrain", True].area_difference.high < 0 < free.area_difference.low


def test_losses_are_compared_after_as_many_records(comparison):
    # half of 20 evaluations is the tenth; a quarter is the fifth, at which pretraining ends
    mine, others = ([run.curve[9].loss for run in comparison.arms[arm].values()] for arm in ("fixed_1", "single"))
    found = course_row(comparison, "fixed_1", counts_pretraining=True).loss_at_50
    assert found == pytest.approx(ratio_interval(np.array(mine), np.array(others)))
    assert np.isnan(course_row(comparison, "pretrain", counts_pretraining=True).loss_at_25).all()


def test_a_longer_run_is_compared_up_to_the_budget(comparison):
    mine, others = (
        [run.curve[N_POINTS - 1].loss for run in comparison.arms[arm].values()] for arm in ("single-long", "single")
    )
    found = course_row(comparison, "single-long", counts_pretraining=True).loss_at_100
    assert found == pytest.approx(ratio_interval(np.array(mine), np.array(others)))


def test_epochs_of_the_decoder_alone_repeat_the_last_figures_of_the_main_task(comparison):
    run = comparison.arms["uncertainty"][0]
    *_, last = run.curve
    blind = last.model_copy(
        update={"samples_seen": last.samples_seen + 640, "macro_auroc": None, "loss": None, "train_loss": None}
    )
    before, after = course(run), course(run.model_copy(update={"curve": (*run.curve, blind)}))
    for name in ("scores", "losses", "train_losses"):
        assert [*getattr(before, name), getattr(before, name)[-1]] == list(getattr(after, name))
    pretrained = course(comparison.arms["pretrain"][0]).scores
    assert np.isnan(pretrained[0])  # undefined until the main task is learned


def test_a_reference_at_chance_gives_no_areas(comparison):
    runs = {seed: run.model_copy(update={"macro_auroc": 0.5}) for seed, run in comparison.arms["single"].items()}
    flat = type(comparison)(comparison.truth, comparison.arms | {"single": runs})
    assert np.isnan(course_row(flat, "fixed_1", counts_pretraining=True).area).all()


def test_the_gap_is_validation_minus_training_loss_at_the_end(comparison):
    row = next(row for row in late_rows(comparison) if row.arm == "fixed_0.1")
    ends = [run.curve[-1] for run in comparison.arms["fixed_0.1"].values()]
    gaps = np.array([point.loss - point.train_loss for point in ends])
    assert row.gap == pytest.approx(mean_interval(gaps))
    others = [run.curve[-1] for run in comparison.arms["single"].values()]
    differences = gaps - [point.loss - point.train_loss for point in others]
    assert row.gap_difference == pytest.approx(mean_interval(differences))


def test_the_late_spread_recovers_the_simulated_one(comparison):
    for row in late_rows(comparison):
        assert row.spread.value == pytest.approx(0.006, rel=0.5)


def test_a_curve_without_a_loss_has_an_undefined_gap(comparison):
    row = next(row for row in late_rows(with_points(comparison, "fixed_1", loss=None)) if row.arm == "fixed_1")
    assert np.isnan(row.gap).all()
    assert np.isfinite(row.train_loss.value)


def test_every_arm_has_a_row_per_threshold(comparison):
    rows = threshold_rows(comparison)
    assert len(rows) == 3 * len(ARMS)
    assert {row.threshold for row in rows} == {share * comparison.reference_final() for share in (0.9, 0.95, 0.98)}


def test_an_arm_that_never_reaches_the_threshold_is_censored_at_the_budget(comparison):
    row = threshold_row(comparison, "fixed_10", 0.98)
    assert (row.n_reached, row.n_seeds, row.mean) == (0, 3, pytest.approx(1))
    assert np.isnan(row.median)
    assert row.ratio.low > 1


def test_times_are_shorter_for_faster_arms_and_pretraining_counts(comparison):
    rows = {row.arm: row for row in threshold_rows(comparison) if row.share == 0.95}
    assert rows["fixed_1"].ratio_t.high < 1
    assert rows["fixed_1"].median < rows["single"].median
    assert rows["pretrain"].without_pretraining.high < 1 < rows["pretrain"].ratio.low
    assert np.isnan(rows["fixed_1"].without_pretraining).all()
    assert np.isnan(rows["single"].ratio).all()


def test_a_ratio_in_seconds_counts_what_a_step_costs(comparison):
    # the same evaluations at 1.3 times the seconds
    row = threshold_row(comparison, "fixed_1", 0.95)
    assert row.wall_clock.value == pytest.approx(1.3 * row.ratio.value, rel=0.02)


def test_times_use_the_requested_clock(comparison):
    records, reached = event_times(comparison, "single", [0, 1, 2], 0.9)
    steps, _ = event_times(comparison, "single", [0, 1, 2], 0.9, "step")
    assert reached.all()
    np.testing.assert_allclose(records, 32 * steps)


def test_an_arm_without_seeds_in_common_has_no_differences(comparison):
    runs = {7: comparison.arms["fixed_1"][0]}
    apart = type(comparison)(comparison.truth, comparison.arms | {"fixed_1": runs})
    assert np.isnan(course_row(apart, "fixed_1", counts_pretraining=True).area_difference).all()
    assert np.isnan(threshold_row(apart, "fixed_1", 0.9).ratio).all()
    assert threshold_row(apart, "fixed_1", 0.9).n_reached == 1
