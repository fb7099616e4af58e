"""Results of runs: writing and reading them."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from ecgmtl.comparison.results import (
    FACTS,
    Point,
    budget,
    course,
    pretraining,
    read_comparison,
    read_result,
    result_path,
    write_result,
)
from ecgmtl.comparison.truth import TRUTH, ComparisonError, is_same, read_truth, write_truth
from tests.comparisons import ARMS, N_LABELS, N_POINTS, N_RECORDS, STEPS, make_run, make_truth, write_comparison


@pytest.fixture
def folder(tmp_path):
    write_comparison(tmp_path, ["single", "fixed_1"], n_seeds=2)
    return tmp_path


def test_a_result_is_read_as_it_was_written(tmp_path):
    run = make_run("pretrain", 3)
    run = run.model_copy(update={"diagnostics": {"cosine": np.nan, "norm": np.inf}})
    path = result_path(tmp_path, "pretrain", 3)
    write_result(path, run)
    again = read_result(path)
    np.testing.assert_equal(again.model_dump(), run.model_dump())
    assert again.scores.shape == (N_RECORDS, N_LABELS)


def test_a_point_may_be_undefined(tmp_path):
    run = make_run("single", 0)
    point = run.curve[0].model_copy(update={"loss": np.nan, "train_loss": np.inf})
    write_result(tmp_path / "r.json", run.model_copy(update={"curve": (point,)}))
    (again,) = read_result(tmp_path / "r.json").curve
    assert np.isnan(again.loss)
    assert again.train_loss == np.inf


def test_probabilities_are_kept_to_five_digits():
    run = make_run("single", 0)
    given = run.model_dump() | {"probabilities": np.full((2, 1), 0.000123456789)}
    assert type(run).model_validate(given).probabilities == ((0.00012346,), (0.00012346,))


def test_a_run_without_a_curve_or_with_a_path_as_arm_is_refused():
    run = make_run("single", 0)
    for wrong in ({"curve": ()}, {"arm": "../single"}, {"speed": 1}):
        with pytest.raises(ValidationError):
            type(run).model_validate(run.model_dump() | wrong)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"arm": "single"}', json.dumps({"speed": 1})])
def test_a_bad_result_is_named_in_a_line(folder, content):
    path = result_path(folder, "fixed_1", 1)
    path.write_text(content)
    with pytest.raises(ComparisonError, match=r"fixed_1\.1\.json: no result of a run \(.*\); delete it") as caught:
        read_comparison(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_result_is_named(tmp_path):
    with pytest.raises(ComparisonError, match="No such file"):
        read_result(tmp_path / "nothing.json")


def test_truth_is_read_as_it_was_written(folder):
    truth = read_truth(folder)
    assert is_same(truth, make_truth())
    assert truth.label_names == ("NORM", "MI", "STTC")
    assert not is_same(truth, make_truth(seed=1))
    assert not is_same(truth, truth._replace(label_names=("NORM", "MI", "HYP")))


def test_a_folder_without_truth_is_refused(tmp_path):
    with pytest.raises(ComparisonError, match=r"holds no comparison: there is no truth\.npz"):
        read_comparison(tmp_path)


@pytest.mark.parametrize("kept", [0, 10, 400])
def test_damaged_truth_is_named(folder, kept):
    path = folder / TRUTH
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ComparisonError, match=r"truth\.npz: damaged"):
        read_comparison(folder)


@pytest.mark.parametrize("facts", [b"", b'{"label_', b"[]", b'{"bases": 1}', b"\xff"])
def test_damaged_facts_are_named_with_a_remedy(folder, facts):
    (folder / FACTS).write_bytes(facts)
    with pytest.raises(
        ComparisonError, match=r"comparison\.json: .*; delete it, and `ecgmtl compare` writes it again\.$"
    ):
        read_comparison(folder)


def test_a_folder_without_the_reference_is_refused(tmp_path):
    write_comparison(tmp_path, ["fixed_1", "pretrain"], n_seeds=1)
    with pytest.raises(ComparisonError, match=r"no run of arm 'single'.*found fixed_1, pretrain"):
        read_comparison(tmp_path)


def test_a_folder_without_runs_is_refused(tmp_path):
    write_truth(tmp_path, make_truth())
    with pytest.raises(ComparisonError, match="found no run at all"):
        read_comparison(tmp_path)


def test_probabilities_of_other_records_are_refused(folder):
    run = make_run("fixed_1", 0)
    write_result(result_path(folder, "fixed_1", 0), run.model_copy(update={"probabilities": run.probabilities[:-1]}))
    with pytest.raises(ComparisonError, match=r"fixed_1\.0\.json: 119 × 3 probabilities, but truth\.npz has 120 × 3"):
        read_comparison(folder)


def test_the_reference_comes_first_and_controls_last_and_numbers_in_their_order(tmp_path):
    write_comparison(tmp_path, reversed(ARMS), n_seeds=1)
    run = make_run("fixed_1", 0).model_copy(update={"arm": "fixed_0.03"})
    write_result(result_path(tmp_path, "fixed_0.03", 0), run)
    assert list(read_comparison(tmp_path).arms) == [
        "single", "single-long", "fixed_0.03", "fixed_0.1", "fixed_1", "fixed_10", "uncertainty", "pretrain", "shuffled"
    ]  # fmt: skip


def test_seeds_are_in_order_and_paired_where_both_have_them(folder):
    for seed in (11, 2):
        write_result(result_path(folder, "fixed_1", seed), make_run("fixed_1", seed))
    comparison = read_comparison(folder)
    assert list(comparison.arms["fixed_1"]) == [0, 1, 2, 11]
    assert comparison.paired("fixed_1") == [0, 1]
    assert comparison.paired("fixed_1", "never run") == []
    assert comparison.others == ["fixed_1"]


def test_a_course_has_the_whole_run_and_is_undefined_before_the_main_task_is_learned():
    run = make_run("pretrain", 0)
    found = course(run)
    np.testing.assert_array_equal(found.times, 32 * STEPS * np.arange(1, N_POINTS + 1))
    np.testing.assert_array_equal(np.isnan(found.scores), np.arange(N_POINTS) < 5)
    assert found.scores[5] == run.curve[5].macro_auroc
    assert found.losses[-1] == run.curve[-1].loss
    assert found.train_losses[-1] == run.curve[-1].train_loss


def test_without_pretraining_a_course_begins_where_that_ends():
    run = make_run("pretrain", 0)
    found = course(run, "seconds", amortized=True)
    assert pretraining(run) == 5
    assert found.times[0] == pytest.approx(run.curve[5].seconds - run.curve[4].seconds)
    np.testing.assert_array_equal(found.scores, course(run).scores[5:])


def test_a_run_without_pretraining_is_the_same_without_it():
    run = make_run("single", 0)
    assert pretraining(run) == 0
    np.testing.assert_array_equal(course(run, amortized=True), course(run))


def test_a_run_that_never_learns_the_main_task_has_no_pretraining():
    point = Point(step=1, samples_seen=1, encoder_passes=1.0, seconds=1.0, macro_auroc=None, loss=None, train_loss=None)
    assert pretraining(make_run("single", 0).model_copy(update={"curve": (point, point)})) == 0


def test_the_budget_is_the_training_of_the_reference(folder):
    comparison = read_comparison(folder)
    assert budget(comparison) == 32 * STEPS * N_POINTS
    assert budget(comparison, "step") == STEPS * N_POINTS
    assert next(iter(comparison.arms)) == comparison.reference == "single"
