"""Time of the vectorised bootstrap at the size of PTB-XL's test fold with all statements, beside a plain loop.

Run: python benchmarks/bootstrap.py
"""

import resource
import time

import numpy as np
from scipy.stats import rankdata

from ecgmtl.metrics.bootstrap import bootstrap, sample_weights

N_RECORDS, N_LABELS, N_RESAMPLES, N_PLAIN = 2198, 71, 1000, 5


def main() -> None:
    rng = np.random.default_rng(0)
    prevalence = np.geomspace(0.002, 0.45, N_LABELS)
    labels = rng.random((N_RECORDS, N_LABELS)) < prevalence
    scores = labels + rng.standard_normal((N_RECORDS, N_LABELS))
    patients = rng.integers(0, 1900, N_RECORDS)

    started = time.perf_counter()
    bootstrap(scores, labels, patients, N_RESAMPLES)
    vectorised = time.perf_counter() - started

    _, place = np.unique(patients, return_inverse=True)
    weights = sample_weights(place, N_PLAIN, np.random.default_rng(0)).astype(int)
    started = time.perf_counter()
    for column in weights.T:
        drawn = np.repeat(np.arange(N_RECORDS), column)
        plain_auroc(scores[drawn], labels[drawn])
    plain = (time.perf_counter() - started) / N_PLAIN * N_RESAMPLES

    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{N_RESAMPLES} resamples x {N_LABELS} labels x {N_RECORDS} records, AUROC and average precision")
    print(f"vectorised {vectorised:.2f} s, plain rank AUROC alone {plain:.1f} s (from {N_PLAIN} resamples)")
    print(f"ratio {plain / vectorised:.1f}, largest memory of the process {memory:.0f} MB")


def plain_auroc(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    n_positive = labels.sum(axis=0)
    rank_sum = (rankdata(scores, axis=0) * labels).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * (len(labels) - n_positive))


if __name__ == "__main__":
    main()
