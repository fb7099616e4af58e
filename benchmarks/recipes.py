"""Writes what each change of the recipe gave into docs/recipe.md, from comparisons that validated on different folds.

for f in 3 6 9; do ecgmtl compare configs/recipes --data data/ptbxl --set validation_fold=$f --out recipes/$f; done
python benchmarks/recipes.py recipes="As recorded" filtered="Filtered, 0.5 to 40 Hz"

Folders that are filtered have --set preprocess.band=[0.5,40] too. What the runs left behind goes into an archive beside
the page. The interval of a difference is the t interval over folds, of each the mean over its seeds; folds share
training records, so it is narrower than it would be on new patients.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from page import fill, keep

from ecgmtl.comparison.results import REFERENCE, RESULTS, Comparison, RunResult, read_comparison
from ecgmtl.comparison.statistics import Interval, mean_interval
from ecgmtl.evaluation.text import markdown

PAGE = Path(__file__).parent.parent / "docs/recipe.md"
LEAST = 0.01
"""Perturbations by which no arm loses as much are left out."""
STRESS_SAYS = f"""\
What the same models lose on perturbed records, in points of macro AUROC (`ecgmtl/stress.py` says what is done to them);
those perturbations of whole records by which any arm loses {100 * LEAST:.0f} point or more, the worst first."""


class Row(NamedTuple):
    about: RunResult
    n_runs: int
    score: float
    """Mean macro AUROC."""
    difference: Interval
    """To the reference: paired by fold and seed, the interval over folds."""
    seconds: float
    losses: dict[str, float]
    """Of macro AUROC, by perturbation; means over the runs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("comparisons", nargs="+", metavar="FOLDER=TITLE", help="a folder of one comparison a fold")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    parts = []
    for folder, title in (argument.split("=", 1) for argument in given.comparisons):
        folds = sorted(place.parent for place in Path(folder).glob(f"*/{RESULTS}"))
        found = rows([read_comparison(fold) for fold in folds])
        parts += [f"### {title}", table(found), STRESS_SAYS, stress_table(found)]
        keep(folds, given.page.with_suffix("") / f"{Path(folder).name}.tar.xz")
    fill(given.page, "recipes", "\n\n".join(parts))


def rows(comparisons: Sequence[Comparison]) -> list[Row]:
    """An arm a row, the best first; of arms that were run on every fold."""
    everywhere = [arm for arm in comparisons[0].arms if all(arm in other.arms for other in comparisons)]
    return sorted((row(arm, comparisons) for arm in everywhere), key=lambda found: -found.score)


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
    """Over the reference, the mean over a fold's seeds."""
    mine, others = comparison.arms[arm], comparison.arms[REFERENCE]
    return float(np.mean([mine[seed].macro_auroc - others[seed].macro_auroc for seed in comparison.paired(arm)]))


def table(found: Sequence[Row]) -> str:
    header = ("arm", "what it changes", "runs", "macro AUROC", f"less {REFERENCE}, points", "95 % interval", "s a run")
    cells = [
        (
            one.about.arm,
            one.about.about,
            str(one.n_runs),
            f"{one.score:.4f}",
            *(against_reference(one.difference) if one.about.arm != REFERENCE else ("–", "–")),
            f"{one.seconds:.0f}",
        )
        for one in found
    ]
    return markdown(header, cells)


def against_reference(difference: Interval) -> tuple[str, str]:
    value, low, high = (100 * end for end in difference)
    return f"{value:+.2f}", f"{low:+.2f} – {high:+.2f}"


def stress_table(found: Sequence[Row]) -> str:
    worst = {name: max(one.losses[name] for one in found) for name in found[0].losses}
    names = sorted((name for name in worst if worst[name] >= LEAST), key=lambda name: -worst[name])
    header = ("arm", "macro AUROC", *(name.replace("_", " ") for name in names))
    cells = [(one.about.arm, f"{one.score:.4f}", *(f"{100 * one.losses[name]:.1f}" for name in names)) for one in found]
    return markdown(header, cells)


if __name__ == "__main__":
    main()
