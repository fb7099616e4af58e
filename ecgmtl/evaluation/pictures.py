"""Curves for people to read, drawn without pyplot: nothing is left behind, and no screen is needed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecgmtl.evaluation.classification import ClassificationReport
from ecgmtl.evaluation.paper import plot_ecg
from ecgmtl.evaluation.reconstruction import ReconstructionReport
from ecgmtl.evaluation.stress import StressReport
from ecgmtl.metrics.decisions import Bins, expected_calibration_error
from ecgmtl.metrics.ranking import precision_recall_curve, roc_curve

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
"""Told apart by color-blind readers too (Okabe and Ito, 2008), but for the last."""
GRAY = "#B0B0B0"
MAX_PANELS = 12

Points = tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]
"""x and y of a line."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_ranking_curves(
    roc: Mapping[str, Points], precision_recall: Mapping[str, Points], figures: Mapping[str, tuple[float, float]]
) -> Figure:
    """ROC and precision-recall curves side by side; `figures` are each label's AUROC and average precision.

    Labels come most frequent first: the first eight have a color and their figures in the legend, others are gray.
    """
    figure = new_figure(11, 5)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1)
    for axes, curves, place in ((left, roc, 0), (right, precision_recall, 1)):
        for name, color, points in colored(curves):
            label = None if color == GRAY else f"{name}  {figures[name][place]:.3f}"
            axes.step(*points, where="post" if place == 0 else "pre", color=color, label=label, **stroke(color))
        n_gray = max(0, len(curves) - len(COLORS))
        if n_gray:
            axes.plot([], [], color=GRAY, label=f"{n_gray} rarer labels")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.grid(alpha=0.3)
    left.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC")
    right.set(xlabel="recall (sensitivity)", ylabel="precision", title="Precision and recall")
    legend(left, "AUROC", "lower right")
    legend(right, "average precision", "lower left")
    return figure


def colored(curves: Mapping[str, Points]) -> Iterator[tuple[str, str, Points]]:
    """Each curve with its color, the gray ones first so that they lie beneath."""
    pairs = list(zip(curves, [*COLORS, *[GRAY] * len(curves)], strict=False))
    for name, color in reversed(pairs):
        yield name, color, curves[name]


def stroke(color: str) -> dict[str, float]:
    return {"linewidth": 0.7, "alpha": 0.6} if color == GRAY else {"linewidth": 1.6}


def legend(axes: Axes, title: str, place: Literal["lower left", "lower right"]) -> None:
    """A legend in the order of the labels; none where there is no line."""
    handles, names = axes.get_legend_handles_labels()
    if not handles:
        return
    order = list(range(len(handles)))[::-1]
    if "rarer" in names[-1]:
        order = [*order[1:], order[0]]
    axes.legend([handles[i] for i in order], [names[i] for i in order], title=title, loc=place, fontsize=8)


def plot_reliability_panels(
    names: Sequence[str],
    calibrated: Sequence[Points],
    plain: Sequence[Points],
    n_records: Int[np.ndarray, "label bin"],
    errors: Sequence[float],
) -> Figure:
    """A panel a label, at most twelve: observed share over mean probability, before and after calibration.

    The bars below say how many records each bin holds, on a logarithmic scale; `errors` are the calibration errors.
    """
    shown = min(len(names), MAX_PANELS)
    columns = min(max(shown, 1), 4)
    rows = -(-max(shown, 1) // columns)
    figure = new_figure(3.1 * columns, 3.3 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for place, panel in enumerate(panels):
        panel.tick_params(labelbottom=place + columns >= shown)  # the lowest of each column
        panel.set_visible(place < shown)
    for place, panel in enumerate(panels[:shown]):
        held = np.log1p(n_records[place]) / np.log1p(max(n_records[place].max(), 1))
        middles = (np.arange(len(held)) + 0.5) / len(held)
        panel.bar(middles, 0.2 * held, width=0.9 / len(held), color="#E0E0E0", label="records (log)")
        panel.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1)
        panel.plot(*plain[place], color=COLORS[1], linewidth=1, alpha=0.6, label="before calibration")
        panel.plot(*calibrated[place], color=COLORS[0], marker="o", markersize=3.5, linewidth=1.4, label="calibrated")
        panel.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        panel.set_title(f"{names[place]}   ECE {errors[place]:.3f}", fontsize=9)
    if shown:
        panels[0].legend(fontsize=7, loc="upper left")
    figure.supxlabel("mean probability", fontsize=10)
    figure.supylabel("observed share", fontsize=10)
    return figure


def plot_loss_bars(
    names: Sequence[str], losses: Float[np.ndarray, " row"], spans: Float[np.ndarray, "row 2"], title: str
) -> Figure:
    """A bar a row, the first on top, with its interval where it has one."""
    figure = new_figure(11, 0.34 * len(names) + 1.2)
    axes = figure.subplots()
    places = np.arange(len(names))[::-1]
    axes.barh(places, losses, color=[COLORS[1] if loss > 0 else COLORS[2] for loss in losses], height=0.62)
    known = np.isfinite(spans).all(axis=1)
    axes.hlines(places[known], spans[known, 0], spans[known, 1], color="black", linewidth=1)
    for place, loss, (_, high) in zip(places, losses, spans, strict=True):
        end = max(loss, 0.0, high if np.isfinite(high) else 0.0)
        axes.annotate(f"{loss:+.4f}", (end, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(places, names, fontsize=8)
    axes.set(xlabel="loss of macro AUROC, 95 % interval over patients", title=title)
    axes.margins(x=0.12)
    axes.grid(axis="x", alpha=0.3)
    return figure


def plot_rankings(report: ClassificationReport) -> Figure:
    """ROC and precision-recall curves of every label that has both classes, the most frequent first."""
    labels = report.labels.drop(index=list(report.undefined)).sort_values("n_positive", ascending=False, kind="stable")
    scores, truth = report.answers.probabilities, report.answers.truth
    columns = {name: report.answers.label_names.index(name) for name in labels.index.astype(str)}
    return plot_ranking_curves(
        {name: roc_curve(scores[:, place], truth[:, place]) for name, place in columns.items()},
        {name: precision_recall_curve(scores[:, place], truth[:, place]) for name, place in columns.items()},
        {str(name): (row["auroc"], row["auprc"]) for name, row in labels.iterrows()},
    )


def plot_reliability(report: ClassificationReport) -> Figure:
    order = np.argsort(-report.labels["n_positive"].to_numpy(), kind="stable")
    errors = expected_calibration_error(report.bins)

    def points(bins: Bins) -> list[Points]:
        held = bins.n_records > 0
        return [(bins.probability[i][held[i]], bins.observed[i][held[i]]) for i in order]

    names = [str(report.labels.index[i]) for i in order]
    return plot_reliability_panels(
        names, points(report.bins), points(report.plain_bins), report.bins.n_records[order], list(errors[order])
    )


def plot_reconstruction(report: ReconstructionReport) -> Figure:
    """The record with the median error on clinical paper, redrawn where it was hidden."""
    drawn = report.typical
    title = f"{drawn.name}, the record with the median error"
    return plot_ecg(drawn.signal, drawn.fs, title, reconstruction=drawn.reconstruction, mask=drawn.mask)


def plot_stress(report: StressReport) -> Figure:
    """What each perturbation costs, the greatest loss on top."""
    table = report.summary.sort_values("loss", ascending=False)
    spans = table[["loss_low", "loss_high"]].to_numpy()
    title = f"Loss of macro AUROC; {report.clean.value:.3f} as recorded"
    return plot_loss_bars(list(table["description"]), table["loss"].to_numpy(), spans, title)
