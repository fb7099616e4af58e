"""Truth of a comparison: writing and reading it."""

import pytest

from ecgmtl.comparison.comparison import read_comparison
from ecgmtl.comparison.truth import TRUTH, ComparisonError, is_same, read_truth
from tests.comparisons import make_truth


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
