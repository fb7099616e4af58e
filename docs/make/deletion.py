"""Print the table of the deletion test in docs/report.md: python docs/make/deletion.py MODEL FILES...

Parts of 0.2 s are removed from each record, the most important ones first, or in random order. The table shows the
probability of each predicted label, averaged over records.
"""

import sys

import numpy as np
from jaxtyping import Float32

from ecgmtl.inference.occlusion import STEP, logits, occlude, without_window
from ecgmtl.inference.predict import predict
from ecgmtl.inference.predictor import Predictor, load_predictor
from ecgmtl.inference.result import Prediction

REMOVED = (0, 1, 2, 5, 10, 20)
"""Numbers of parts that are removed."""
N_DRAWS = 5
"""Random orders of each record."""


def remove(signal: Float32[np.ndarray, "lead time"], parts: list[int], size: int) -> Float32[np.ndarray, "lead time"]:
    for part in parts:
        signal = without_window(signal, size * part, size * (part + 1))
    return signal


def curves(predictor: Predictor, result: Prediction, rng: np.random.Generator) -> np.ndarray:
    """Return the probabilities of the predicted labels, by order (important, random), label, and number removed."""
    assert result.signals is not None  # noqa: S101, predict was told to keep them
    signal, size = result.signals.prepared.signal, round(STEP * predictor.metadata.preprocess.fs)
    importance = occlude(predictor, signal).time
    labels = [list(result.calibrated).index(name) for name, yes in result.decisions.items() if yes]
    orders = [[np.argsort(-importance[:, label]) for label in labels]]
    orders += [[rng.permutation(len(importance))] * len(labels) for _ in range(N_DRAWS)]
    results = []
    for per_label in orders:
        for label, order in zip(labels, per_label, strict=True):
            copies = np.stack([remove(signal, order[:n].tolist(), size) for n in REMOVED])
            probabilities = predictor.metadata.calibration.probabilities(logits(predictor, copies))
            results.append(probabilities[:, label])
    table = np.array(results).reshape(len(orders), len(labels), len(REMOVED))
    return np.stack([table[0], table[1:].mean(axis=0)])


def main(model: str, paths: list[str]) -> None:
    predictor, rng = load_predictor(model), np.random.default_rng(0)
    results = [result for result in predict(predictor, paths, keep_signals=True) if isinstance(result, Prediction)]
    probabilities = np.concatenate(
        [curves(predictor, result, rng) for result in results if any(result.decisions.values())], axis=1
    )
    print(f"{len(results)} records, {probabilities.shape[1]} predictions")  # noqa: T201
    for n, important, chance in zip(REMOVED, *probabilities.mean(axis=1), strict=True):
        print(f"| {n * STEP:.1f} s | {important:.3f} | {chance:.3f} |")  # noqa: T201
    faster = (probabilities[0, :, 1:].mean(axis=1) < probabilities[1, :, 1:].mean(axis=1)).mean()
    print(f"important parts first lower it faster in {faster:.1%} of the predictions")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
