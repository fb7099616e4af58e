"""Write into docs/label_efficiency.md what pretraining gains where few records have labels.

ecgmtl compare configs/pretraining --data data/ptbxl --seeds 3 --set label_share=0.1 --out labels/0.1
python docs/make/label_efficiency.py labels/0.01="1 %" labels/0.1="10 %" labels/1="all"

The results of the runs are written to an archive beside the page.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from page import fill, keep

from ecgmtl.comparison.comparison import Comparison, read_comparison
from ecgmtl.comparison.learning_curves import stopped_by_others
from ecgmtl.comparison.results import RunResult
from ecgmtl.comparison.statistics import Interval, mean_interval
from ecgmtl.evaluation.text import markdown

PAGE = Path(__file__).parents[1] / "label_efficiency.md"

Score = Callable[[Sequence[RunResult]], Float64[np.ndarray, " run"]]
"""Scores of an arm's runs."""


class Row(NamedTuple):
    """An arm's row of the table."""

    about: RunResult
    n_runs: int
    figures: tuple[tuple[float, Interval], ...]
    """Mean score and paired difference from the reference, one pair for each way of choosing the epoch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("comparisons", nargs="+", metavar="FOLDER=SHARE")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    parts = []
    for folder, share in (argument.split("=", 1) for argument in arguments.comparisons):
        comparison = read_comparison(Path(folder))
        parts.append(f"### Labels: {share}\n\n{table(comparison.reference, rows(comparison))}")
        keep([Path(folder)], arguments.page.with_suffix("") / f"{Path(folder).name}.tar.xz")
    fill(arguments.page, "shares", "\n\n".join(parts))


def learning_curve(run: RunResult) -> Float64[np.ndarray, " epoch"]:
    """Return the validation macro AUROC after each epoch that learns from labels or from teachers.

    Where the arm ends in a student, only the student's epochs count, because the teachers are not the arm's model. A
    student that learns from teachers alone is recognized by having no loss on the labels.
    """
    learned = [point for point in run.curve if point.macro_auroc is not None]
    is_student = learned[-1].train_loss is None
    own = takewhile(lambda point: (point.train_loss is None) == is_student, reversed(learned))
    return np.array([point.macro_auroc for point in own])[::-1]


def last(runs: Sequence[RunResult]) -> Float64[np.ndarray, " run"]:
    return np.array([learning_curve(run)[-1] for run in runs])


def chosen_by_others(runs: Sequence[RunResult]) -> Float64[np.ndarray, " run"]:
    """Return the scores after the epochs at which the other seeds' mean is highest, nan where there is one seed."""
    return stopped_by_others(np.stack([learning_curve(run) for run in runs]))


SCORES: tuple[Score, ...] = (last, chosen_by_others)


def rows(comparison: Comparison) -> list[Row]:
    """Return one row for each arm, best first by the score at the epoch that the other seeds choose."""
    return sorted((row(arm, comparison) for arm in comparison.arms), key=lambda one: -one.figures[-1][0])


def row(arm: str, comparison: Comparison) -> Row:
    seeds = comparison.paired(arm)
    mine, others = ([comparison.arms[name][seed] for seed in seeds] for name in (arm, comparison.reference))
    figures = []
    for score in SCORES:
        values, to = score(mine), score(others)
        figures.append((float(values.mean()), mean_interval(values - to)))
    return Row(mine[0], len(seeds), tuple(figures))


def table(reference: str, arms: Sequence[Row]) -> str:
    header = (
        "arm",
        "what it does",
        "seeds",
        "last epoch",
        f"minus {reference}, points",
        "epoch chosen by other seeds",
        f"minus {reference}, points",
    )
    cells = [
        (
            one.about.arm,
            one.about.about,
            str(one.n_runs),
            *(cell for figure in one.figures for cell in cells_of(*figure)),
        )
        for one in arms
    ]
    return markdown(header, cells)


def cells_of(value: float, difference: Interval) -> tuple[str, str]:
    return f"{value:.4f}", f"{100 * difference.value:+.2f} [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"


if __name__ == "__main__":
    main()
