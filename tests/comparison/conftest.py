"""What the tests of comparisons share."""

import pytest

from tests.comparisons import without_plots


@pytest.fixture
def small_plots():
    """Empty plots in place of those of a report, in tests of other things: to plot takes seconds."""
    with without_plots():
        yield
