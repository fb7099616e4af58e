"""What the tests of comparisons share."""

import pytest

from tests.comparisons import without_plots, write_comparison


@pytest.fixture
def small_plots():
    """Empty plots in place of those of a report, in tests of other things: to plot takes seconds."""
    with without_plots():
        yield


@pytest.fixture
def folder(tmp_path):
    """Folder of a comparison of two arms with two seeds each."""
    write_comparison(tmp_path, ["single", "fixed_1"], n_seeds=2)
    return tmp_path
