"""Write the effect of each change to the recipe into docs/recipe.md, from comparisons with different validation folds.

for f in 3 6 9; do ecgmtl compare configs/recipes --data data/ptbxl --set validation_fold=$f --out recipes/$f; done
python docs/make/recipes.py recipes="As recorded" filtered="Filtered, 0.5 to 40 Hz"

Comparisons of filtered records also need --set preprocess.band=[0.5,40]. The results of the runs are written to an
archive beside the page. The interval of a difference is the t interval over folds, after averaging over each fold's
seeds. Folds share training records, so it is narrower than it would be on new patients.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from page import fill, keep

from ecgmtl.comparison.comparison import Comparison, read_comparison
from ecgmtl.comparison.results import RESULTS, RunResult
from ecgmtl.comparison.statistics import Interval, mean_interval
from ecgmtl.evaluation.text import markdown

PAGE = Path(__file__).parents[1] / "recipe.md"
LEAST = 0.01
"""Smallest loss of macro AUROC for which a perturbation is listed: at least one arm loses as much."""
STRESS_SAYS = f"""\
Loss of macro AUROC of the same models on perturbed records, in points. `ecgmtl/evaluation/perturbations.py` defines the
perturbations. The table lists those of whole records by which any arm loses at least {100 * LEAST:.0f} point."""


class Row(NamedTuple):
    """An arm's row of the tables."""

    about: RunResult
    n_runs: int
    score: float
    """Mean macro AUROC."""
    difference: Interval
    """Difference from the reference, paired by fold and seed, with the interval over folds."""
    seconds: float
    losses: dict[str, float]
    """Loss of macro AUROC for each perturbation, averaged over the runs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("comparisons", nargs="+", metavar="FOLDER=TITLE", help="a folder of one comparison a fold")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    parts = []
    for folder, title in (argument.split("=", 1) for argument in arguments.comparisons):
        folds = sorted(path.parent for path in Path(folder).glob(f"*/{RESULTS}"))
        comparisons = [read_comparison(fold) for fold in folds]
        arms = rows(comparisons)
        parts += [f"### {title}", table(comparisons[0].reference, arms), STRESS_SAYS, stress_table(arms)]
        keep(folds, arguments.page.with_suffix("") / f"{Path(folder).name}.tar.xz")
    fill(arguments.page, "recipes", "\n\n".join(parts))


def rows(comparisons: Sequence[Comparison]) -> list[Row]:
    """Return one row for each arm that was run on every fold, best first."""
    everywhere = [arm for arm in comparisons[0].arms if all(arm in other.arms for other in comparisons)]
    return sorted((row(arm, comparisons) for arm in everywhere), key=lambda one: -one.score)


def row(arm: str, comparisons: Sequence[Comparison]) -> Row:
    runs = [run for comparison in comparisons for run in comparison.arms[arm].values()]
    return Row(
        runs[0],
        len(runs),
        float(np.mean([run.macro_auroc for run in runs])),
        mean_interval(np.array([gain(arm, comparison) for comparison in comparisons])),
        float(np.mean([run.curve[-1].seconds for run in runs])),
        {name: float(np.mean([run.macro_auroc - run.stress[name] for run in runs])) for name in runs[0].stress},
    )


def gain(arm: str, comparison: Comparison) -> float:
    """Return the gain over the reference, averaged over a fold's seeds."""
    mine, others = comparison.arms[arm], comparison.arms[comparison.reference]
    return float(np.mean([mine[seed].macro_auroc - others[seed].macro_auroc for seed in comparison.paired(arm)]))


def table(reference: str, arms: Sequence[Row]) -> str:
    header = (
        "arm",
        "what it changes",
        "runs",
        "macro AUROC",
        f"minus {reference}, points",
        "95 % interval",
        "s per run",
    )
    cells = [
        (
            one.about.arm,
            one.about.about,
            str(one.n_runs),
            f"{one.score:.4f}",
            *(against_reference(one.difference) if one.about.arm != reference else ("–", "–")),
            f"{one.seconds:.0f}",
        )
        for one in arms
    ]
    return markdown(header, cells)


def against_reference(difference: Interval) -> tuple[str, str]:
    value, low, high = (100 * end for end in difference)
    return f"{value:+.2f}", f"{low:+.2f} – {high:+.2f}"


def stress_table(arms: Sequence[Row]) -> str:
    worst = {name: max(one.losses[name] for one in arms) for name in arms[0].losses}
    names = sorted((name for name in worst if worst[name] >= LEAST), key=lambda name: -worst[name])
    header = ("arm", "macro AUROC", *(name.replace("_", " ") for name in names))
    cells = [(one.about.arm, f"{one.score:.4f}", *(f"{100 * one.losses[name]:.1f}" for name in names)) for one in arms]
    return markdown(header, cells)


if __name__ == "__main__":
    main()
