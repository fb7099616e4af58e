"""Scores and labels to rank, and what scikit-learn says of them."""

import numpy as np

TRUTH = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]], bool)
SCORES = np.array([[0.9, 0.2, 0.4], [0.6, 0.5, 0.1], [0.1, 0.3, 0.0], [0.2, 0.7, 0.8]])


def case(seed):
    """Scores with ties, labels of which some lack a class, and a weight a record, many of them 0."""
    rng = np.random.default_rng(seed)
    n_records, n_labels = rng.integers(2, 60), rng.integers(1, 6)
    scores = rng.integers(0, rng.integers(2, 30), (n_records, n_labels)) / 7 - 1
    labels = rng.random((n_records, n_labels)) < rng.choice([0.0, 0.05, 0.4, 1.0], n_labels)
    return scores, labels, rng.integers(0, 3, n_records).astype(float)


def oracle(figure, scores, labels, weights):
    """scikit-learn's figure of each label; nan where positives or negatives have no weight."""
    found = np.full(labels.shape[1], np.nan)
    for place in range(labels.shape[1]):
        truth = labels[:, place]
        if weights[truth].sum() > 0 and weights[~truth].sum() > 0:
            found[place] = figure(truth, scores[:, place], sample_weight=weights)
    return found
