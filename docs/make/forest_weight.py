"""Write into docs/recipe.md how the weight of the boosted trees changes each label's score.

python docs/make/forest_weight.py STORE COMPARISON ARM

COMPARISON is a folder of `ecgmtl compare` over folds of STORE, whose runs have no trees. Trees of the config ptbxl are
trained on the folds that each run of ARM was trained on, and their logits are added to the run's.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from page import fill

from ecgmtl.comparison.comparison import read_comparison
from ecgmtl.comparison.statistics import Interval, mean_interval
from ecgmtl.config.run import load_config
from ecgmtl.config.shipped import find_config
from ecgmtl.data.split import load_split, open_for
from ecgmtl.metrics.ranking import auroc
from ecgmtl.model.forest.forest import ForestSettings
from ecgmtl.model.forest.grow import BATCH, grow_forest

PAGE = Path(__file__).parents[1] / "recipe.md"
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
USED = 1.0
"""Weight in the config ptbxl, with which each other is compared."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("comparison", type=Path)
    parser.add_argument("arm")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    comparison = read_comparison(arguments.comparison)
    of_folds = []
    for run in comparison.arms[arguments.arm].values():
        truth = comparison.truth.of_fold(run.fold)
        trees = logits_of_trees(arguments.store, run.fold, run.seed, truth.names)
        of_folds.append([auroc(run.scores + weight * trees, truth.labels) for weight in WEIGHTS])
        print(f"fold {run.fold} is done")  # noqa: T201
    fill(arguments.page, "forest_weight.py", table(100 * np.array(of_folds), comparison.truth.label_names))


def logits_of_trees(
    path: Path, fold: int | None, seed: int, names: tuple[str, ...]
) -> Float[np.ndarray, "record label"]:
    """Return the logits of trees with a weight of 1, on the records of a fold, in the order of `names`."""
    config = load_config(find_config(Path("ptbxl")))
    store = open_for(path, config.preprocess, fold)
    train, judged = (load_split(store, split, store.default_labels) for split in ("train", "validation"))
    if judged.names != names:
        raise SystemExit(f"{path} does not have the records of fold {fold} that were compared.")
    forest = grow_forest(ForestSettings(weight=1), train, seed)
    with torch.no_grad():
        return torch.cat([forest(batch.signals) for batch in judged.in_order(BATCH)]).numpy()


def table(points: Float64[np.ndarray, "fold weight label"], label_names: tuple[str, ...]) -> str:
    """Return a table of each weight's AUROC, as means over folds."""
    macro = points.mean(axis=2)
    used = macro[:, WEIGHTS.index(USED)]
    lines = [
        f"| weight | macro AUROC | points compared with {USED:g} | {' | '.join(label_names)} |",
        "|--:|--:|--:|" + "--:|" * len(label_names),
    ]
    for index, weight in enumerate(WEIGHTS):
        labels = " | ".join(f"{value:.2f}" for value in points[:, index].mean(axis=0))
        difference = "–" if weight == USED else in_words(mean_interval(macro[:, index] - used))
        lines.append(f"| {weight:g} | {macro[:, index].mean():.2f} | {difference} | {labels} |")
    return "\n".join(lines)


def in_words(interval: Interval) -> str:
    mean, low, high = interval
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})".replace("-", "−")


if __name__ == "__main__":
    main()
