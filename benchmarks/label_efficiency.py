"""Writes into docs/label_efficiency.md what pretraining gives where few records have labels.

ecgmtl compare configs/pretraining --data data/ptbxl --seeds 3 --set label_share=0.1 --out labels/0.1
python benchmarks/label_efficiency.py labels/0.01="1 %" labels/0.1="10 %" labels/1="all"

What the runs left behind goes into an archive beside the page.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from page import fill, keep

from ecgmtl.comparison.results import REFERENCE, Comparison, RunResult, read_comparison
from ecgmtl.comparison.statistics import Interval, mean_interval
from ecgmtl.evaluation.text import markdown

PAGE = Path(__file__).parent.parent / "docs/label_efficiency.md"

Score = Callable[[Sequence[RunResult], int], float]
"""Of one of an arm's runs, by its place among them."""


class Row(NamedTuple):
    about: RunResult
    n_runs: int
    figures: tuple[tuple[float, Interval], ...]
    """By how the epoch was chosen: the mean score, and the paired difference to the reference."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("comparisons", nargs="+", metavar="FOLDER=SHARE")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    parts = []
    for folder, share in (argument.split("=", 1) for argument in given.comparisons):
        parts.append(f"### Labels: {share}\n\n{table(rows(read_comparison(Path(folder))))}")
        keep([Path(folder)], given.page.with_suffix("") / f"{Path(folder).name}.tar.xz")
    fill(given.page, "shares", "\n\n".join(parts))


def learning_curve(run: RunResult) -> Float64[np.ndarray, " epoch"]:
    """Validation macro AUROC after each epoch that learns labels, or what teachers say of them.

    A student's alone where there is one, for its teachers are not what the arm gives: it learns no labels itself, and
    so has no loss of them.
    """
    learnt = [point for point in run.curve if point.macro_auroc is not None]
    is_student = learnt[-1].train_loss is None
    own = takewhile(lambda point: (point.train_loss is None) == is_student, reversed(learnt))
    return np.array([point.macro_auroc for point in own])[::-1]


def last(runs: Sequence[RunResult], place: int) -> float:
    return float(learning_curve(runs[place])[-1])


def chosen_by_others(runs: Sequence[RunResult], place: int) -> float:
    """After the epoch at which the other seeds' mean was highest: no run has a say in its own; nan of a single seed."""
    others = [learning_curve(run) for other, run in enumerate(runs) if other != place]
    if not others:
        return float("nan")
    return float(learning_curve(runs[place])[np.mean(others, axis=0).argmax()])


SCORES: tuple[Score, ...] = (last, chosen_by_others)


def rows(comparison: Comparison) -> list[Row]:
    """An arm a row, the best first by the epoch that other seeds choose."""
    found = [row(arm, comparison) for arm in comparison.arms]
    return sorted(found, key=lambda one: -one.figures[-1][0])


def row(arm: str, comparison: Comparison) -> Row:
    seeds = comparison.paired(arm)
    mine, others = ([comparison.arms[name][seed] for seed in seeds] for name in (arm, REFERENCE))
    figures = []
    for score in SCORES:
        values, to = (np.array([score(runs, place) for place in range(len(runs))]) for runs in (mine, others))
        figures.append((float(values.mean()), mean_interval(values - to)))
    return Row(mine[0], len(seeds), tuple(figures))


def table(found: Sequence[Row]) -> str:
    header = (
        "arm",
        "what it does",
        "seeds",
        "last epoch",
        f"less {REFERENCE}, points",
        "epoch chosen by other seeds",
        f"less {REFERENCE}, points",
    )
    cells = [
        (one.about.arm, one.about.about, str(one.n_runs), *(cell for figure in one.figures for cell in said(*figure)))
        for one in found
    ]
    return markdown(header, cells)


def said(value: float, difference: Interval) -> tuple[str, str]:
    return f"{value:.4f}", f"{100 * difference.value:+.2f} [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"


if __name__ == "__main__":
    main()
