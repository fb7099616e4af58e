"""Final scores of a simulated comparison, and the tables of its figures."""

import numpy as np
import pytest

from ecgmtl.comparison.comparison import Comparison, read_comparison
from ecgmtl.comparison.statistics import Interval, holm, sign_flip_p
from ecgmtl.comparison.tables import arm_rows, flat, named_figures, resample_runs, tuning_rows
from ecgmtl.comparison.text import verdict
from ecgmtl.metrics.bootstrap import bootstrap
from ecgmtl.metrics.ranking import macro_auroc
from tests.comparisons import make_run, make_truth, write_comparison


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    write_comparison(folder, n_seeds=5)
    return read_comparison(folder)


@pytest.fixture(scope="module")
def resampled(comparison):
    return resample_runs(comparison, 500)


@pytest.fixture(scope="module")
def rows(comparison, resampled):
    return {row.arm: row for row in arm_rows(comparison, resampled)}


def test_all_runs_use_the_same_resamples_of_patients(comparison, resampled):
    truth, run = comparison.truth, comparison.arms["fixed_1"][2]
    expected = bootstrap(run.scores, truth.labels, truth.patients, 500).auroc.mean(axis=1)
    np.testing.assert_allclose(resampled["fixed_1"][2], expected)
    together = np.corrcoef(resampled["fixed_1"][2], resampled["single"][2])[0, 1]
    assert together > 0.9


def test_the_final_score_is_the_mean_over_seeds(comparison, rows):
    scores = [macro_auroc(run.scores, comparison.truth.labels) for run in comparison.arms["pretrain"].values()]
    assert rows["pretrain"].final.value == pytest.approx(np.mean(scores), abs=1e-4)
    assert rows["pretrain"].final.low < np.mean(scores) < rows["pretrain"].final.high


def test_differences_are_paired_by_seed(comparison, rows):
    mine, others = ([run.macro_auroc for run in comparison.arms[arm].values()] for arm in ("fixed_1", "single"))
    assert rows["fixed_1"].difference.value == pytest.approx(np.mean(np.subtract(mine, others)))
    assert rows["fixed_1"].p_sign_flip == sign_flip_p(np.subtract(mine, others))
    difference = rows["fixed_1"].difference
    assert difference.high - difference.low < rows["fixed_1"].final.high - rows["fixed_1"].final.low


def test_known_effects_are_found_in_their_direction(rows):
    known = {"single": "reference", "fixed_10": "worse", "pretrain": "better", "shuffled": "cannot tell"}
    assert {arm: verdict(rows[arm], "single") for arm in known} == known
    assert rows["shuffled"].difference.low < 0 < rows["shuffled"].difference.high


def test_p_values_are_corrected_over_all_arms(rows):
    plain = np.array([row.p for row in rows.values()])
    np.testing.assert_array_equal([row.p_holm for row in rows.values()], holm(plain))
    assert np.isnan(rows["single"].p)
    assert rows["fixed_10"].p_holm == pytest.approx(7 * rows["fixed_10"].p)


def test_equal_compute_is_compared_with_the_longer_reference(comparison, rows):
    mine, others = ([run.macro_auroc for run in comparison.arms[arm].values()] for arm in ("fixed_1", "single-long"))
    assert rows["fixed_1"].equal_compute.value == pytest.approx(np.mean(np.subtract(mine, others)))
    assert np.isnan(rows["single-long"].equal_compute).all()
    assert np.isnan(rows["single"].equal_compute).all()


def test_equal_compute_is_left_out_without_the_longer_reference(tmp_path):
    write_comparison(tmp_path, ["single", "fixed_1"], n_seeds=2)
    comparison = read_comparison(tmp_path)
    for row in arm_rows(comparison, resample_runs(comparison, 50)):
        assert np.isnan(row.equal_compute).all()
        assert np.isnan(row.equal_compute_p_holm)


def test_costs_are_ratios_to_the_reference(rows):
    assert (rows["single-long"].steps, rows["single-long"].passes) == (2, 2)
    assert rows["fixed_1"].seconds == pytest.approx(1.3)
    assert rows["single"].run_seconds == pytest.approx(0.05 * 50 * 20)


def test_a_single_seed_gives_no_verdict(tmp_path):
    write_comparison(tmp_path, ["single", "fixed_10"], n_seeds=1)
    comparison = read_comparison(tmp_path)
    _, row = arm_rows(comparison, resample_runs(comparison, 50))
    assert row.difference.high < 0
    assert np.isnan(row.p_holm)
    assert verdict(row, "single") == "cannot tell"


def test_tuning_rows_hold_the_trials(comparison):
    row = next(row for row in tuning_rows(comparison) if row.arm == "fixed_1")
    # 0.88, 0.87, 0.86, 0.85
    assert (row.n_tried, row.mean, row.spread) == (4, pytest.approx(0.865), pytest.approx(0.0129099, rel=1e-4))
    assert row.expected_best == pytest.approx({1: 0.865, 2: 0.8733333, 4: 0.88}, rel=1e-5)


def test_arms_that_were_not_tuned_have_no_tuning_row(comparison):
    runs = {seed: run.model_copy(update={"tuning": ()}) for seed, run in comparison.arms["single"].items()}
    untuned = type(comparison)(comparison.truth, {"single": runs})
    assert tuning_rows(untuned) == []


def test_named_figures_are_means_over_seeds_and_undefined_where_an_arm_lacks_them(comparison):
    table = named_figures(comparison, lambda run: run.mean_weights).set_index("arm")
    assert table.loc["fixed_1", "reconstruction"] == pytest.approx(0.3)
    assert np.isnan(table.loc["single", "reconstruction"])
    rmse = named_figures(comparison, lambda run: run.reconstruction).set_index("arm")["rmse_mv"]
    assert rmse["fixed_1"] == pytest.approx(0.12)  # 0.10 to 0.14
    assert "single" not in rmse.index


def test_figures_that_no_arm_has_make_an_empty_table(comparison):
    assert named_figures(comparison, lambda run: {}).empty


def test_an_undefined_figure_of_one_seed_is_left_out_of_the_mean():
    run, truth = make_run("fixed_1", 0), make_truth()
    runs = {0: run, 1: run.model_copy(update={"diagnostics": run.diagnostics | {"conflict_rate": np.nan}})}
    table = named_figures(Comparison(truth, {"fixed_1": runs}), lambda run: run.diagnostics)
    assert table["conflict_rate"].item() == pytest.approx(0.45)


def test_flat_rows_have_a_column_per_end_of_an_interval_and_item_of_a_dict(comparison, rows):
    frame = flat(rows.values())
    row = frame.set_index("arm").loc["fixed_1"]
    assert Interval(row["final"], row["final_low"], row["final_high"]) == rows["fixed_1"].final
    assert "expected_best_of_2" in flat(tuning_rows(comparison)).columns
