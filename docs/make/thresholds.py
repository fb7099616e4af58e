"""Write into docs/methods.md how two rules for decision thresholds compare on records that chose neither.

python docs/make/thresholds.py COMPARISON ARM

COMPARISON is a folder of `ecgmtl compare` over folds. Each rule chooses the thresholds on the evaluated records of one
fold, after calibration on the same records, and is evaluated on those of all other folds.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64
from page import fill, points_in_words
from sklearn.metrics import f1_score, precision_recall_curve

from ecgmtl.comparison.comparison import read_comparison
from ecgmtl.comparison.statistics import mean_interval
from ecgmtl.metrics.calibration import best_expected_f1, fit

PAGE = Path(__file__).parents[1] / "methods.md"
Rule = Callable[[Float64[np.ndarray, " record"], Bool[np.ndarray, " record"]], float]


def of_best_f1(probabilities: Float64[np.ndarray, " record"], truth: Bool[np.ndarray, " record"]) -> float:
    precision, recall, thresholds = precision_recall_curve(truth, probabilities)
    return float(thresholds[(2 * precision * recall / np.maximum(precision + recall, 1e-12))[:-1].argmax()])


RULES: dict[str, Rule] = {
    "half of the best expected F1": lambda probabilities, _: best_expected_f1(probabilities) / 2,
    "best F1 on the same records": of_best_f1,
    "0.5": lambda *_: 0.5,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("comparison", type=Path)
    parser.add_argument("arm")
    arguments = parser.parse_args()
    comparison = read_comparison(arguments.comparison)
    runs = list(comparison.arms[arguments.arm].values())
    scores = [run.scores.astype(np.float64) for run in runs]
    truths = [comparison.truth.of_fold(run.fold).labels > 0 for run in runs]
    thresholds = np.empty((len(RULES), len(runs), truths[0].shape[1]))
    f1 = np.empty_like(thresholds)
    for own in range(len(runs)):
        calibration = fit(scores[own], truths[own])
        others = [index for index in range(len(runs)) if index != own]
        probabilities, truth = calibration.probabilities(scores[own]), np.concatenate([truths[i] for i in others])
        other_probabilities = np.concatenate([calibration.probabilities(scores[i]) for i in others])
        for index, rule in enumerate(RULES.values()):
            chosen = np.array([rule(*label) for label in zip(probabilities.T, truths[own].T, strict=True)])
            thresholds[index, own] = chosen
            f1[index, own] = [
                f1_score(*label) for label in zip(truth.T, (other_probabilities >= chosen).T, strict=True)
            ]
    fill(PAGE, "thresholds.py", table(100 * f1, thresholds, comparison.truth.label_names))


def table(
    points: Float64[np.ndarray, "rule fold label"],
    thresholds: Float64[np.ndarray, "rule fold label"],
    label_names: tuple[str, ...],
) -> str:
    """Return a table of each rule's F1, as means over the folds that chose the thresholds."""
    macro, spread = points.mean(axis=2), thresholds.std(axis=1, ddof=1)
    lines = [
        f"| threshold | macro F1 | relative to the first | lowest | {' | '.join(label_names)} | sd of the thresholds |",
        "|---|--:|--:|--:|" + "--:|" * len(label_names) + "--:|",
    ]
    for index, rule in enumerate(RULES):
        labels = " | ".join(f"{value:.1f}" for value in points[index].mean(axis=0))
        difference = "–" if index == 0 else points_in_words(*mean_interval(macro[index] - macro[0]))
        lowest, widths = macro[index].min(), f"{spread[index].min():.3f} to {spread[index].max():.3f}"
        lines.append(f"| {rule} | {macro[index].mean():.1f} | {difference} | {lowest:.1f} | {labels} | {widths} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
