"""A comparison: reading its folder, and what its arms have in common."""

import pytest

from ecgmtl.comparison.comparison import FACTS, read_comparison
from ecgmtl.comparison.results import result_path, write_result
from ecgmtl.comparison.truth import ComparisonError, write_truth
from tests.comparisons import ARMS, N_POINTS, STEPS, make_run, make_truth, write_comparison


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


def test_the_budget_is_the_training_of_the_reference(folder):
    comparison = read_comparison(folder)
    assert comparison.budget() == 32 * STEPS * N_POINTS
    assert comparison.budget("step") == STEPS * N_POINTS
    assert next(iter(comparison.arms)) == comparison.reference == "single"
