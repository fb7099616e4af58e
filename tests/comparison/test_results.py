"""Results of runs: writing and reading them."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from ecgmtl.comparison.comparison import read_comparison
from ecgmtl.comparison.results import has_results, read_result, result_path, write_result
from ecgmtl.comparison.truth import ComparisonError
from tests.comparisons import N_LABELS, N_RECORDS, make_run


def test_a_result_is_read_as_it_was_written(tmp_path):
    run = make_run("pretrain", 3)
    run = run.model_copy(update={"diagnostics": {"cosine": np.nan, "norm": np.inf}})
    path = result_path(tmp_path, "pretrain", 3)
    write_result(path, run)
    again = read_result(path)
    np.testing.assert_equal(again.model_dump(), run.model_dump())
    assert again.scores.shape == (N_RECORDS, N_LABELS)


def test_the_results_of_an_arm_are_found_by_their_names_alone(tmp_path):
    assert not has_results(tmp_path, "fixed_0")
    for arm, fold in (("fixed_0.03", None), ("factor-0.5", 3)):
        path = result_path(tmp_path, arm, 0, fold)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    names = ("fixed_0.03", "factor-0.5", "fixed_0", "factor-0", "fixed_0.0")
    assert [has_results(tmp_path, arm) for arm in names] == [True, True, False, False, False]


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
    with pytest.raises(
        ComparisonError, match=r"fixed_1\.1\.json: should hold the result of a run .*; delete it"
    ) as caught:
        read_comparison(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_result_is_named(tmp_path):
    with pytest.raises(ComparisonError, match="No such file"):
        read_result(tmp_path / "nothing.json")
