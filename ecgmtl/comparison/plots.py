"""Plots of a comparison: curves, differences, times to a threshold, areas. The reference is black throughout."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ecgmtl.comparison.comparison import Comparison
from ecgmtl.comparison.course import course
from ecgmtl.comparison.learning_curves import SHARES, CourseRow, event_times
from ecgmtl.comparison.results import Clock, RunResult
from ecgmtl.comparison.statistics import CHANCE, LEVEL, Interval, mean_interval
from ecgmtl.comparison.survival import kaplan_meier
from ecgmtl.comparison.tables import ArmRow
from ecgmtl.evaluation.pictures import COLORS, GRAY, new_figure

PALETTE = COLORS[:6]
BLACK = "#000000"
CLOCKS: dict[Clock, str] = {
    "samples_seen": "training records seen, repetitions counted",
    "seconds": "seconds of training",
}
CURVATURES = {
    "hessian_eigenvalue_1": "largest eigenvalue, Hessian",
    "hessian_trace": "trace, Hessian",
    "ntk_rank": "effective rank, tangent kernel",
    "ntk_centered_alignment": "centered alignment with labels",
}
"""Titles of the curvature figures that are plotted, by name."""
MOMENTS = ("start", "middle", "end")
N_GRID = 80
"""Number of times at which curves are averaged over seeds."""


def groups(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Return the arms that are plotted together with their title, at most six beside the reference."""
    members: dict[str, list[str]] = {}
    for arm in comparison.others:
        members.setdefault(comparison.about(arm).group, []).append(arm)
    size = len(PALETTE)
    parts = [(name, arms[i : i + size]) for name, arms in members.items() for i in range(0, len(arms), size)]
    return parts or [("", [])]


def rows_of_panels(
    comparison: Comparison, n_columns: int, height: float
) -> tuple[Figure, list[tuple[list[Axes], list[str]]]]:
    """Return a figure with a row of panels per group of arms, and each row with the arms to plot there."""
    parts = groups(comparison)
    figure = new_figure(12, 0.4 + height * len(parts))
    panels = figure.subplots(len(parts), n_columns, squeeze=False, sharex="col")
    for (name, _), row in zip(parts, panels, strict=True):
        row[0].set_ylabel(name, fontsize=10, fontweight="bold")
        for panel in row:
            panel.grid(alpha=0.3)
            panel.tick_params(labelsize=8)
    return figure, [(list(row), arms) for (_, arms), row in zip(parts, panels, strict=True)]


def plot_learning_curves(comparison: Comparison, clock: Clock) -> Figure:
    """Plot validation macro AUROC, loss, and the paired difference in AUROC, as means with 95 % t intervals."""
    figure, rows = rows_of_panels(comparison, 3, 2.9)
    end = comparison.budget(clock)
    grid = np.linspace(0, end, N_GRID + 1)[1:]
    for panels, arms in rows:
        for arm, color in zip([comparison.reference, *arms], [BLACK, *PALETTE], strict=False):
            runs, base = comparison.arms[arm], comparison.arms[comparison.reference]
            scores = {cell: on_grid(run, clock, grid, "scores") for cell, run in runs.items()}
            losses = {cell: on_grid(run, clock, grid, "losses") for cell, run in runs.items()}
            shared = comparison.paired(arm)
            above = {cell: scores[cell] - on_grid(base[cell], clock, grid, "scores") for cell in shared}
            for panel, curves in zip(panels, (scores, losses, above), strict=True):
                if curves:
                    stack = comparison.by_unit(curves, np.stack(list(curves.values())))
                    plot_band(panel, grid, stack, color, arm)
        legend_beside(panels[-1])
        zoom(panels[0], comparison)
        for panel in panels:
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))
            panel.set_xlim(0, end)
    titles = ("macro AUROC", "loss", f"macro AUROC minus {comparison.reference}")
    for panel, title in zip(rows[0][0], titles, strict=True):
        panel.set_title(title, fontsize=10)
    figure.supxlabel(CLOCKS[clock], fontsize=10)
    return figure


def plot_curvature(comparison: Comparison) -> Figure:
    """Plot curvature figures at the start, middle and end of training, as means with 95 % t intervals."""
    figure, rows = rows_of_panels(comparison, len(CURVATURES), 2.6)
    positions = np.arange(len(MOMENTS), dtype=np.float64)
    for panels, arms in rows:
        for panel, name in zip(panels, CURVATURES, strict=True):
            for arm, color in zip([comparison.reference, *arms], [BLACK, *PALETTE], strict=False):
                series = {cell: run.curvature.get(name, ()) for cell, run in comparison.arms[arm].items()}
                whole = {cell: values for cell, values in series.items() if len(values) == len(MOMENTS)}
                if whole:
                    plot_band(panel, positions, comparison.by_unit(whole, np.array(list(whole.values()))), color, arm)
            panel.set_xticks(positions, MOMENTS)
        if panels[-1].lines:  # no arm of this row may have measured it
            legend_beside(panels[-1])
    for panel, title in zip(rows[0][0], CURVATURES.values(), strict=True):
        panel.set_title(title, fontsize=10)
    return figure


def on_grid(
    run: RunResult, clock: Clock, grid: Float64[np.ndarray, " time"], name: str
) -> Float64[np.ndarray, " time"]:
    """Return a run's curve at given times, with nan before its first and after its last evaluation."""
    curve = course(run, clock)
    return np.interp(grid, curve.times, getattr(curve, name), left=np.nan, right=np.nan)


def plot_band(
    panel: Axes,
    grid: Float64[np.ndarray, " time"],
    stack: Float64[np.ndarray, "unit time"],
    color: str,
    label: str,
) -> None:
    """Plot the mean over seeds or folds as a line and its 95 % t interval as a band, except where one has no value."""
    stack[:, np.isnan(stack).any(axis=0)] = np.nan
    spans = np.array([mean_interval(column) for column in stack.T])
    panel.plot(grid, spans[:, 0], color=color, linewidth=1.5, label=label)
    panel.fill_between(grid, spans[:, 1], spans[:, 2], color=color, alpha=0.12, linewidth=0)


def legend_beside(panel: Axes) -> None:
    """Add a legend to the right of a panel."""
    panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def zoom(panel: Axes, comparison: Comparison) -> None:
    """Limit the vertical axis to scores near the reference's final score, where arms differ."""
    finals = [run.macro_auroc for runs in comparison.arms.values() for run in runs.values()]
    best = comparison.reference_final()
    if best <= CHANCE:
        return
    panel.set_ylim(CHANCE + 0.55 * (best - CHANCE), max(finals) + 0.1 * (best - CHANCE))


def plot_thresholds(comparison: Comparison) -> Figure:
    """Plot the fraction of runs that have reached and held each threshold, one minus Kaplan-Meier."""
    figure, rows = rows_of_panels(comparison, len(SHARES), 2.3)
    end = comparison.budget()
    for panels, arms in rows:
        for panel, share in zip(panels, SHARES, strict=True):
            for line, arm in enumerate([comparison.reference, *arms]):
                color = [BLACK, *PALETTE][line]
                times, reached = event_times(comparison, arm, list(comparison.arms[arm]), share)
                curve = kaplan_meier(times, reached)
                x = np.concatenate([[0.0], curve.times, [end]])
                y = 1 - np.concatenate([[1.0], curve.share, curve.share[-1:]]) + 0.012 * line  # lines side by side
                panel.step(x, y, where="post", color=color, label=arm)
            panel.set(xlim=(0, end), ylim=(-0.03, 1.1))
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        legend_beside(panels[-1])
    for panel, share in zip(rows[0][0], SHARES, strict=True):
        threshold = share * comparison.reference_final()
        panel.set_title(f"fraction of runs at macro AUROC ≥ {threshold:.3f}", fontsize=10)
    figure.supxlabel(CLOCKS["samples_seen"], fontsize=10)
    return figure


def plot_differences(comparison: Comparison, rows: Sequence[ArmRow]) -> Figure:
    """Plot each arm's difference in final score to the reference, and as hollow markers to the longer one."""
    rows = [row for row in rows if row.arm != comparison.reference]
    figure, panel = lines_for([row.arm for row in rows])
    for line, row in enumerate(rows):
        is_significant = row.p_holm < LEVEL
        plot_interval(panel, line - 0.13, row.difference, COLORS[0] if is_significant else BLACK, marker="o")
        plot_interval(panel, line + 0.2, row.equal_compute, GRAY, marker="o", face="white")
        text = f"{row.difference.value:+.4f}   p {row.p_holm:.2g}" if np.isfinite(row.p_holm) else ""
        panel.text(1.01, line, text, transform=panel.get_yaxis_transform(), va="center", fontsize=8)
    panel.plot([], [], "o-", color=BLACK, label=f"to {comparison.reference}")
    panel.plot([], [], "o-", color=COLORS[0], label="the same, p < 0.05 after Holm")
    if any(np.isfinite(row.equal_compute.value) for row in rows):
        panel.plot([], [], "o-", color=GRAY, markerfacecolor="white", label=f"to {comparison.equal_compute}")
    panel.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    panel.set_xlabel("difference in macro AUROC (positive: the arm is better)", fontsize=9)
    return figure


def plot_areas(comparison: Comparison, rows: Sequence[CourseRow]) -> Figure:
    """Plot each arm's difference in the area under the learning curve to the reference, with intervals over seeds."""
    rows = [row for row in rows if row.arm != comparison.reference]
    names = [row.arm if row.counts_pretraining else f"{row.arm}, pretraining not counted" for row in rows]
    figure, panel = lines_for(names)
    for line, row in enumerate(rows):
        color = PALETTE[0] if row.counts_pretraining else COLORS[5]
        panel.barh(line, row.area_difference.value, color=color, height=0.6, alpha=0.6)
        plot_interval(panel, line, row.area_difference, BLACK)
        text = f"{row.area.value:.3f}"
        panel.text(1.01, line, text, transform=panel.get_yaxis_transform(), va="center", fontsize=8)
    panel.set_xlabel(
        "difference in normalized area under the learning curve (positive: the arm learns earlier)", fontsize=9
    )
    return figure


def lines_for(names: Sequence[str]) -> tuple[Figure, Axes]:
    """Return an empty panel with one line per name, from top to bottom, and a vertical line at zero."""
    figure = new_figure(11, 1.2 + 0.32 * max(len(names), 1))
    panel = figure.subplots()
    panel.set_yticks(range(len(names)), names, fontsize=9)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.axvline(0, color=GRAY, linewidth=1)
    panel.grid(axis="x", alpha=0.3)
    panel.tick_params(axis="x", labelsize=8)
    return figure, panel


def plot_interval(panel: Axes, height: float, span: Interval, color: str, marker: str = "", face: str = "") -> None:
    """Plot a value as a marker and its interval as a line."""
    panel.plot([span.low, span.high], [height, height], color=color, linewidth=1.4)
    panel.plot([span.value], [height], marker, color=color, markerfacecolor=face or color, markersize=5)
