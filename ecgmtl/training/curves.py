"""The course of a training as a picture: losses, their weights, what validation gave, over all epochs of all stages."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecgmtl.evaluation.pictures import COLOURS, new_figure

Line = Mapping[str, str | float]
"""One epoch of a run's history: stage, epoch, and figures by name, such as `validation/macro_auroc`."""

PANELS = {
    "loss": ("train/loss.", "validation/loss."),
    "weight of the task": ("train/weight.",),
    "macro AUROC": ("validation/macro_auroc",),
    "RMSE of hidden samples, mV": ("validation/rmse_mv",),
}
"""What each panel shows, by the beginning of the names in the history."""


def training_curves(history: Sequence[Line]) -> Figure:
    """One panel a kind of figure that the history has; stages are shaded and named."""
    names = sorted({name for line in history for name in line})
    found = {title: [n for n in names if n.startswith(starts)] for title, starts in PANELS.items()}
    shown = {title: series for title, series in found.items() if series}
    figure = new_figure(9, 1 + 2.2 * max(len(shown), 1))
    panels = figure.subplots(max(len(shown), 1), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (title, series) in zip(panels, shown.items(), strict=False):
        draw_panel(panel, history, series)
        panel.set_ylabel(title, fontsize=9)
        panel.grid(alpha=0.3)
        shade_stages(panel, history)
    name_stages(panels[0], history)
    panels[-1].set_xlabel("epoch, counted over all stages")
    return figure


def draw_panel(panel: Axes, history: Sequence[Line], series: Sequence[str]) -> None:
    """A line a series, a color a task; training dashed, validation drawn through."""
    tasks = list(dict.fromkeys(name.split("/")[1].removeprefix("loss.").removeprefix("weight.") for name in series))
    for name in series:
        split, figure = name.split("/")
        task = figure.removeprefix("loss.").removeprefix("weight.")
        dashes = "--" if split == "train" and figure.startswith("loss.") else "-"
        label = f"{task}, {split}" if figure.startswith("loss.") else task
        values = column(history, name)
        marker = "o" if np.isfinite(values).sum() == 1 else ""
        place = np.arange(1, len(history) + 1)
        again, color = divmod(tasks.index(task), len(COLOURS))
        width = 1.5 + 1.5 * again  # as many tasks have colors of their own, the next ones thicker lines
        panel.plot(place, values, dashes, color=COLOURS[color], label=label, marker=marker, linewidth=width)
    if len(series) > 1:
        panel.legend(fontsize=8)


def column(history: Sequence[Line], name: str) -> Float64[np.ndarray, " epoch"]:
    """One figure over the epochs; nan where a stage does not have it."""
    return np.array([float(line.get(name, np.nan)) for line in history])


def stages(history: Sequence[Line]) -> list[tuple[float, float, str]]:
    """Where each stage begins and ends, and its name."""
    names = [str(line["stage"]) for line in history]
    starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    ends = [*starts[1:], len(names)]
    return [(a + 0.5, b + 0.5, names[a]) for a, b in zip(starts, ends, strict=False)]


def name_stages(panel: Axes, history: Sequence[Line]) -> None:
    """Each stage's name above its beginning; in two rows where short stages' names would run into each other."""
    found = stages(history)
    crowded = any(last - first < 0.12 * len(history) for first, last, _ in found[:-1])
    for place, (first, _, stage) in enumerate(found):
        height = 1.13 if crowded and place % 2 else 1.02
        panel.text(first, height, stage, transform=panel.get_xaxis_transform(), fontsize=9)


def shade_stages(panel: Axes, history: Sequence[Line]) -> None:
    for place, (first, last, _) in enumerate(stages(history)):
        panel.axvspan(first, last, color="#F2F2F2" if place % 2 == 0 else "#FFFFFF", zorder=0)
    if history:
        panel.set_xlim(0.5, len(history) + 0.5)
