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
from page import fill, points_in_words

from ecgmtl.comparison.comparison import read_comparison
from ecgmtl.comparison.statistics import mean_interval
from ecgmtl.config.run import load_config
from ecgmtl.config.shipped import find_config
from ecgmtl.data.split import Split, load_split, open_for
from ecgmtl.metrics.ranking import auroc
from ecgmtl.model.forest.forest import ForestSettings
from ecgmtl.model.forest.grow import grow_forest

PAGE = Path(__file__).parents[1] / "recipe.md"
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
"""Weights of the trees' logits. Each is compared with that of the config ptbxl, which is among them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("comparison", type=Path)
    parser.add_argument("arm")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    config, comparison = load_config(find_config(Path("ptbxl"))), read_comparison(arguments.comparison)
    assert config.forest is not None  # noqa: S101, the recipe has trees
    of_folds = []
    for run in comparison.arms[arguments.arm].values():
        truth, store = comparison.truth.of_fold(run.fold), open_for(arguments.store, config.preprocess, run.fold)
        train, evaluated = (load_split(store, split, store.default_labels) for split in ("train", "validation"))
        if evaluated.names != truth.names:
            raise SystemExit(f"{store.path} does not have the records of fold {run.fold} that were compared.")
        trees = logits_of_trees(config.forest, train, evaluated, run.seed)
        of_folds.append([auroc(run.scores + weight * trees, truth.labels) for weight in WEIGHTS])
        print(f"fold {run.fold} is done")  # noqa: T201
    points = 100 * np.array(of_folds)
    fill(arguments.page, "forest_weight.py", table(points, config.forest.weight, comparison.truth.label_names))


def logits_of_trees(
    settings: ForestSettings, train: Split, evaluated: Split, seed: int
) -> Float[np.ndarray, "record label"]:
    """Train trees, and return their logits with a weight of 1."""
    forest = grow_forest(settings.model_copy(update={"weight": 1.0}), train, seed)
    with torch.no_grad():
        return torch.cat([forest(batch.signals) for batch in evaluated.in_order()]).numpy()


def table(points: Float64[np.ndarray, "fold weight label"], used: float, label_names: tuple[str, ...]) -> str:
    """Return a table of each weight's AUROC, as means over folds, with differences from the weight `used`."""
    macro = points.mean(axis=2)
    reference = macro[:, WEIGHTS.index(used)]
    lines = [
        f"| weight | macro AUROC | points compared with {used:g} | {' | '.join(label_names)} |",
        "|--:|--:|--:|" + "--:|" * len(label_names),
    ]
    for index, weight in enumerate(WEIGHTS):
        labels = " | ".join(f"{value:.2f}" for value in points[:, index].mean(axis=0))
        difference = "–" if weight == used else points_in_words(*mean_interval(macro[:, index] - reference))
        lines.append(f"| {weight:g} | {macro[:, index].mean():.2f} | {difference} | {labels} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
