"""Plot of a run: losses, task weights and validation scores over all epochs of all stages."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ecgmtl.evaluation.pictures import COLORS, new_figure
from ecgmtl.tracking import names
from ecgmtl.training.history import EpochLine

PANELS = {
    "loss": (names.train(names.LOSS), names.validation(names.LOSS)),
    "weight of the task": (names.train(names.WEIGHT),),
    "macro AUROC": (names.validation(names.MACRO_AUROC),),
    "RMSE of masked samples, mV": (names.validation(names.RMSE),),
}
"""Prefixes of the names of each panel's figures, by the title of the panel."""


def training_curves(history: Sequence[EpochLine]) -> Figure:
    """Plot a panel for each kind of figure in the history, with the stages shaded and named."""
    figures = sorted({name for line in history for name in line.figures})
    series_of = {title: [name for name in figures if name.startswith(starts)] for title, starts in PANELS.items()}
    shown = {title: series for title, series in series_of.items() if series}
    figure = new_figure(9, 1 + 2.2 * max(len(shown), 1))
    panels = figure.subplots(max(len(shown), 1), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (title, series) in zip(panels, shown.items(), strict=False):
        plot_panel(panel, history, series)
        panel.set_ylabel(title, fontsize=9)
        panel.grid(alpha=0.3)
        shade_stages(panel, history)
    name_stages(panels[0], history)
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[-1].set_xlabel("epoch, counted over all stages")
    return figure


def plot_panel(panel: Axes, history: Sequence[EpochLine], series: Sequence[str]) -> None:
    """Plot a line for each series in its task's color, dashed for training and solid for validation."""
    tasks = list(dict.fromkeys(map(names.task_of, series)))
    for name in series:
        task, split = names.task_of(name), name.partition("/")[0]
        is_loss = name.partition("/")[2].startswith(names.LOSS)
        dashes = "--" if is_loss and name.startswith(names.TRAIN) else "-"
        label = f"{task}, {split}" if is_loss else task
        values = column(history, name)
        marker = "o" if np.isfinite(values).sum() == 1 else ""
        epochs = np.arange(1, len(history) + 1)
        cycle, color = divmod(tasks.index(task), len(COLORS))
        width = 1.5 + 1.5 * cycle  # where tasks outnumber colors, colors repeat with thicker lines
        panel.plot(epochs, values, dashes, color=COLORS[color], label=label, marker=marker, linewidth=width)
    if len(series) > 1:
        panel.legend(fontsize=8)


def column(history: Sequence[EpochLine], name: str) -> Float64[np.ndarray, " epoch"]:
    """Return a figure over the epochs, NaN where a stage does not have it."""
    return np.array([line.figures.get(name, np.nan) for line in history])


def stages(history: Sequence[EpochLine]) -> list[tuple[float, float, str]]:
    """Return the first and last position of each stage on the axis, and its name."""
    stage_names = [line.stage for line in history]
    starts = [i for i, name in enumerate(stage_names) if i == 0 or name != stage_names[i - 1]]
    ends = [*starts[1:], len(stage_names)]
    return [(a + 0.5, b + 0.5, stage_names[a]) for a, b in zip(starts, ends, strict=False)]


def name_stages(panel: Axes, history: Sequence[EpochLine]) -> None:
    """Write each stage's name above its beginning, in two rows where names of short stages would overlap."""
    spans = stages(history)
    crowded = any(last - first < 0.12 * len(history) for first, last, _ in spans[:-1])
    for number, (first, _, stage) in enumerate(spans):
        height = 1.13 if crowded and number % 2 else 1.02
        panel.text(first, height, stage, transform=panel.get_xaxis_transform(), fontsize=9)


def shade_stages(panel: Axes, history: Sequence[EpochLine]) -> None:
    for number, (first, last, _) in enumerate(stages(history)):
        panel.axvspan(first, last, color="#F2F2F2" if number % 2 == 0 else "#FFFFFF", zorder=0)
    if history:
        panel.set_xlim(0.5, len(history) + 0.5)
