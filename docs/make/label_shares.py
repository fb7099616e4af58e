"""Draw docs/label_shares.png, macro AUROC over the share of labels, from the tables of the comparisons on evidence.md.

python docs/make/label_shares.py
"""

import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecgmtl.comparison.report import TABLES
from ecgmtl.evaluation.pictures import COLORS, new_figure

DOCS = Path(__file__).parents[1]
PICTURE = DOCS / "label_shares.png"
COMPARISONS = {10: "two-views-at-a-tenth-of-the-labels", 100: "five-methods-at-all-labels"}
"""Folder of a comparison, by the percentage of patients that have labels."""
BLACK = "#000000"


class Method(NamedTuple):
    """A way to learn, and the arm that stands for it at each percentage."""

    name: str
    arms: dict[int, str]
    color: str


METHODS = (
    Method("classification alone", {10: "single", 100: "single"}, BLACK),
    Method("pretraining, then labels", {10: "pretrain", 100: "pretrain"}, COLORS[2]),
    Method("one view, weight 3", {10: "one-3", 100: "one-3"}, COLORS[1]),
    Method("two views, weight 10 (a tenth) and 3 (all)", {10: "two-10", 100: "two-3"}, COLORS[0]),
)


class Point(NamedTuple):
    """Mean over folds with its 95 % interval, in percent or in points."""

    share: int
    value: float
    low: float
    high: float


def points(method: Method, figure: str, evidence: Path = DOCS / "evidence") -> list[Point]:
    """Return a figure of each comparison that has the method's arm, by the epoch that is best for the other folds."""
    results = []
    for share, folder in COMPARISONS.items():
        table = pd.read_csv(evidence / folder / TABLES / "late.csv").set_index("arm")
        if method.arms[share] in table.index:
            row = 100 * table.loc[method.arms[share]]
            results.append(Point(share, *(row[f"{figure}{end}"] for end in ("", "_low", "_high"))))
    return [point for point in results if not math.isnan(point.value)]  # the reference has no difference from itself


def draw(evidence: Path = DOCS / "evidence") -> Figure:
    """Draw the scores, and beside them the differences from classification alone, which are paired by fold."""
    figure = new_figure(9, 3.2)
    scores, differences = figure.subplots(1, 2)
    for index, method in enumerate(METHODS):
        add(scores, points(method, "stopped", evidence), index, method)
        add(differences, points(method, "stopped_difference", evidence), index, method)
    differences.axhline(0, color=BLACK, linewidth=1)
    scores.set_title("macro AUROC, %", fontsize=10)
    differences.set_title("points above classification alone, paired by fold", fontsize=10)
    for axes in (scores, differences):
        axes.set(xscale="log", xlim=(7, 140), xlabel="patients with labels")
        axes.set_xticks(list(COMPARISONS), [f"{share} %" for share in COMPARISONS])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    scores.legend(loc="lower right", fontsize=8)
    return figure


def add(axes: Axes, drawn: list[Point], index: int, method: Method) -> None:
    """Add a method's points, moved a little aside so that its intervals do not hide those of others."""
    if not drawn:
        return
    places = [point.share * 1.06 ** (index - 1.5) for point in drawn]
    values = [point.value for point in drawn]
    errors = [[p.value - p.low for p in drawn], [p.high - p.value for p in drawn]]
    axes.errorbar(
        places, values, errors, color=method.color, marker="o", markersize=4, capsize=3, linewidth=1, label=method.name
    )


if __name__ == "__main__":
    draw().savefig(PICTURE, dpi=110)
