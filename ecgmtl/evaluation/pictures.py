"""Plots of an evaluation. They do without pyplot, so they need no screen and leave no global state."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data_prep.paper import plot_ecg
from ecgmtl.evaluation.classification import ClassificationReport
from ecgmtl.evaluation.reconstruction import ReconstructionReport
from ecgmtl.evaluation.stress import StressReport
from ecgmtl.metrics.decisions import Bins, expected_calibration_error
from ecgmtl.metrics.ranking import precision_recall_curve, roc_curve

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
"""Line colors. All but the last can be told apart by color-blind readers too (Okabe and Ito, 2008)."""
GRAY = "#B0B0B0"
MAX_PANELS = 12
"""Largest number of labels in a reliability plot."""

Points = tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]
"""Coordinates x and y of a line."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_ranking_curves(
    roc: Mapping[str, Points], precision_recall: Mapping[str, Points], figures: Mapping[str, tuple[float, float]]
) -> Figure:
    """Plot ROC and precision-recall curves side by side.

    `figures` has each label's AUROC and average precision. Labels are ordered by frequency: the eight most frequent
    have a color and their figures in the legend, the others are gray.
    """
    figure = new_figure(11, 5)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1)
    for axes, curves, column in ((left, roc, 0), (right, precision_recall, 1)):
        for name, color, points in colored(curves):
            label = None if color == GRAY else f"{name}  {figures[name][column]:.3f}"
            axes.step(*points, where="post" if column == 0 else "pre", color=color, label=label, **stroke(color))
        n_gray = max(0, len(curves) - len(COLORS))
        if n_gray:
            axes.plot([], [], color=GRAY, label=f"{n_gray} rarer labels")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.grid(alpha=0.3)
    left.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC")
    right.set(xlabel="recall (sensitivity)", ylabel="precision", title="Precision and recall")
    add_legend(left, "AUROC", "lower right")
    add_legend(right, "average precision", "lower left")
    return figure


def colored(curves: Mapping[str, Points]) -> Iterator[tuple[str, str, Points]]:
    """Yield each curve with its color, the gray ones first so that they lie beneath the others."""
    pairs = list(zip(curves, [*COLORS, *[GRAY] * len(curves)], strict=False))
    for name, color in reversed(pairs):
        yield name, color, curves[name]


def stroke(color: str) -> dict[str, float]:
    """Return width and opacity of a line, which is thin and pale where it is gray."""
    return {"linewidth": 0.7, "alpha": 0.6} if color == GRAY else {"linewidth": 1.6}


def add_legend(axes: Axes, title: str, corner: Literal["lower left", "lower right"]) -> None:
    """Add a legend in the order of the labels, or none where there is no line."""
    handles, names = axes.get_legend_handles_labels()
    if not handles:
        return
    order = list(range(len(handles)))[::-1]
    if "rarer" in names[-1]:
        order = [*order[1:], order[0]]
    axes.legend([handles[i] for i in order], [names[i] for i in order], title=title, loc=corner, fontsize=8)


def plot_reliability_panels(
    names: Sequence[str],
    calibrated: Sequence[Points],
    plain: Sequence[Points],
    n_records: Int[np.ndarray, "label bin"],
    errors: Sequence[float],
) -> Figure:
    """Plot the observed frequency of each label over its mean probability, before and after calibration.

    Each label has a panel, up to MAX_PANELS. Bars show the number of records in each bin, on a logarithmic scale.
    `errors` are the expected calibration errors.
    """
    n_panels = min(len(names), MAX_PANELS)
    columns = min(max(n_panels, 1), 4)
    rows = -(-max(n_panels, 1) // columns)
    figure = new_figure(3.1 * columns, 3.3 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for index, panel in enumerate(panels):
        panel.tick_params(labelbottom=index + columns >= n_panels)  # the lowest of each column
        panel.set_visible(index < n_panels)
    for index, panel in enumerate(panels[:n_panels]):
        heights = np.log1p(n_records[index]) / np.log1p(max(n_records[index].max(), 1))
        middles = (np.arange(len(heights)) + 0.5) / len(heights)
        panel.bar(middles, 0.2 * heights, width=0.9 / len(heights), color="#E0E0E0", label="records (log)")
        panel.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1)
        panel.plot(*plain[index], color=COLORS[1], linewidth=1, alpha=0.6, label="before calibration")
        panel.plot(*calibrated[index], color=COLORS[0], marker="o", markersize=3.5, linewidth=1.4, label="calibrated")
        panel.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        panel.set_title(f"{names[index]}   ECE {errors[index]:.3f}", fontsize=9)
    if n_panels:
        panels[0].legend(fontsize=7, loc="upper left")
    figure.supxlabel("mean probability", fontsize=10)
    figure.supylabel("observed frequency", fontsize=10)
    return figure


def plot_loss_bars(
    names: Sequence[str], losses: Float[np.ndarray, " row"], spans: Float[np.ndarray, "row 2"], title: str
) -> Figure:
    """Plot one horizontal bar per row, the first on top, with its interval where there is one."""
    figure = new_figure(11, 0.34 * len(names) + 1.2)
    axes = figure.subplots()
    heights = np.arange(len(names))[::-1]
    axes.barh(heights, losses, color=[COLORS[1] if loss > 0 else COLORS[2] for loss in losses], height=0.62)
    known = np.isfinite(spans).all(axis=1)
    axes.hlines(heights[known], spans[known, 0], spans[known, 1], color="black", linewidth=1)
    for height, loss, (_, high) in zip(heights, losses, spans, strict=True):
        end = max(loss, 0.0, high if np.isfinite(high) else 0.0)
        axes.annotate(f"{loss:+.4f}", (end, height), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(heights, names, fontsize=8)
    axes.set(xlabel="loss of macro AUROC, with 95 % interval over patients", title=title)
    axes.margins(x=0.12)
    axes.grid(axis="x", alpha=0.3)
    return figure


def plot_rankings(report: ClassificationReport) -> Figure:
    """Plot ROC and precision-recall curves of every label that has both classes, the most frequent first."""
    labels = report.labels.drop(index=list(report.undefined)).sort_values("n_positive", ascending=False, kind="stable")
    scores, truth = report.answers.probabilities, report.answers.truth
    columns = {name: report.answers.label_names.index(name) for name in labels.index.astype(str)}
    return plot_ranking_curves(
        {name: roc_curve(scores[:, column], truth[:, column]) for name, column in columns.items()},
        {name: precision_recall_curve(scores[:, column], truth[:, column]) for name, column in columns.items()},
        {str(name): (row["auroc"], row["auprc"]) for name, row in labels.iterrows()},
    )


def plot_reliability(report: ClassificationReport) -> Figure:
    """Plot the reliability of the most frequent labels."""
    order = np.argsort(-report.labels["n_positive"].to_numpy(), kind="stable")
    errors = expected_calibration_error(report.bins)

    def points(bins: Bins) -> list[Points]:
        filled = bins.n_records > 0
        return [(bins.probability[i][filled[i]], bins.observed[i][filled[i]]) for i in order]

    names = [str(report.labels.index[i]) for i in order]
    return plot_reliability_panels(
        names, points(report.bins), points(report.plain_bins), report.bins.n_records[order], list(errors[order])
    )


def plot_reconstruction(report: ReconstructionReport) -> Figure:
    """Plot the record with the median error on clinical paper, with its masked samples reconstructed."""
    record = report.typical
    title = f"{record.name}, the record with the median error"
    return plot_ecg(record.signal, record.fs, title, reconstruction=record.reconstruction, mask=record.mask)


def plot_stress(report: StressReport) -> Figure:
    """Plot the loss of macro AUROC under each perturbation, the largest on top."""
    table = report.summary.sort_values("loss", ascending=False)
    spans = table[["loss_low", "loss_high"]].to_numpy()
    title = f"Loss of macro AUROC; {report.clean.value:.3f} as recorded"
    return plot_loss_bars(list(table["description"]), table["loss"].to_numpy(), spans, title)
