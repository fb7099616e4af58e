import numpy as np
import pytest

from ecgmtl.evaluation.pictures import COLORS, GRAY, MAX_PANELS, plot_ranking_curves, plot_reliability_panels

LINE = (np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.8, 1.0]))


def rankings(n_labels):
    names = [f"L{i}" for i in range(n_labels)]
    return plot_ranking_curves(
        dict.fromkeys(names, LINE), dict.fromkeys(names, LINE), dict.fromkeys(names, (0.75, 0.5))
    )


def test_every_label_has_both_curves_and_its_figures_in_the_legend():
    left, right = rankings(3).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["L0  0.750", "L1  0.750", "L2  0.750"]
    assert right.get_legend().get_texts()[0].get_text() == "L0  0.500"


def test_rarer_labels_are_gray_and_counted_in_the_legend():
    left = rankings(20).axes[0]
    texts = [text.get_text() for text in left.get_legend().get_texts()]
    assert len(texts) == len(COLORS) + 1
    assert texts[-1] == "12 rarer labels"
    assert sum(line.get_color() == GRAY and len(line.get_xdata()) == 3 for line in left.lines) == 12


@pytest.mark.parametrize("n_labels", [0, 1, 5, 30])
def test_reliability_shows_at_most_twelve_labels(n_labels, tmp_path):
    names = [f"L{i}" for i in range(n_labels)]
    figure = plot_reliability_panels(
        names, [LINE] * n_labels, [LINE] * n_labels, np.ones((n_labels, 15), int), [0.1] * n_labels
    )
    assert sum(axes.get_visible() for axes in figure.axes) == min(n_labels, MAX_PANELS)
    figure.savefig(tmp_path / "reliability.png", dpi=50)


def test_figures_are_saved_without_a_screen_and_without_pyplot(tmp_path):
    rankings(2).savefig(tmp_path / "roc_pr.png", dpi=50)
    assert (tmp_path / "roc_pr.png").read_bytes().startswith(b"\x89PNG")
