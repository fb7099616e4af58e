import numpy as np
import pytest

from ecgmtl.training.curves import stages, training_curves
from ecgmtl.training.history import EpochLine


def line(stage, epoch, figures):
    return EpochLine(stage, epoch, 3, 96, 1.5, figures)


HISTORY = [
    line("pretrain", 0, {"train/loss.reconstruction": 0.9, "validation/rmse_mv": 0.2}),
    line("pretrain", 1, {"train/loss.reconstruction": 0.7, "validation/rmse_mv": 0.1}),
    line(
        "joint",
        0,
        {
            "train/loss.reconstruction": 0.6,
            "train/loss.classification": 0.5,
            "train/weight.classification": 1.2,
            "validation/macro_auroc": 0.8,
            "validation/rmse_mv": 0.1,
        },
    ),
]


def test_training_curves_have_a_panel_per_kind_of_figure():
    figure = training_curves(HISTORY)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "loss",
        "weight of the task",
        "macro AUROC",
        "RMSE of masked samples, mV",
    ]
    plotted = figure.axes[0].lines[1]
    assert plotted.get_label() == "reconstruction, train"
    np.testing.assert_array_equal(plotted.get_ydata(), [0.9, 0.7, 0.6])


def test_epochs_are_whole_numbers():
    figure = training_curves(HISTORY[:2])
    figure.canvas.draw()
    assert all(tick == round(tick) for tick in figure.axes[-1].get_xticks())


def test_more_tasks_than_colors_are_told_apart_by_width():
    losses = {f"train/loss.task{i}": 0.1 * i for i in range(11)}
    lines = training_curves([line("joint", epoch, losses) for epoch in range(2)]).axes[0].lines
    styles = {(str(one.get_color()), one.get_linewidth()) for one in lines if "train" in one.get_label()}
    assert len(styles) == 11


def test_the_start_of_each_stage_is_marked():
    assert stages(HISTORY) == [(0.5, 2.5, "pretrain"), (2.5, 3.5, "joint")]
    assert {text.get_text() for text in training_curves(HISTORY).axes[0].texts} == {"pretrain", "joint"}


@pytest.mark.parametrize("history", [[], HISTORY[:1]])
def test_a_history_of_no_or_one_epoch_is_plotted(history, tmp_path):
    training_curves(history).savefig(tmp_path / "training.png", dpi=50)
    assert (tmp_path / "training.png").stat().st_size > 0
