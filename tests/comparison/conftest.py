"""What the tests of comparisons share."""

import pytest
from matplotlib.figure import Figure

from ecgmtl.comparison import report


@pytest.fixture
def small_plots(monkeypatch):
    """Empty plots in place of those of a report, in tests of other things: to plot takes seconds."""
    monkeypatch.setattr(report, "plot", lambda *_: {name: Figure((1, 1)) for name in report.CAPTIONS})
