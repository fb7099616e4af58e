"""Bootstrap intervals, over patients resampled with replacement, each with all of their records."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, Shaped

from ecgmtl.metrics.ranking import Ranked, rank_labels, weigh

CHUNK_VALUES = 2**19
"""Weights in one chunk of resamples, 2 MB: it stays in a CPU's cache while all labels use it."""


def bootstrap(
    scores: Float[np.ndarray, "record label"],
    labels: Shaped[np.ndarray, "record label"],
    patients: Int64[np.ndarray, " record"],
    n_resamples: int = 1000,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Ranked:
    """Compute AUROC and average precision of every label in each resample of patients; nan where a class is missing.

    A resample is a weight for each record, so each label is sorted once. The same seed and patients give the same
    resamples, so that two models are compared on the same ones. `advance` is called with the number of further
    resamples done.

    scikit-learn's `roc_auc_score` and `average_precision_score`, which `scipy.stats.bootstrap` would call, sort every
    label again in each resample: 458 ms for 2,163 records and 44 labels, and 1.4 ms here (CPU time).
    """
    rankings = rank_labels(scores, labels)
    generator = np.random.default_rng(seed)
    _, patient = np.unique(patients, return_inverse=True)
    size = max(16, CHUNK_VALUES // len(patients))
    chunks = []
    for start in range(0, n_resamples, size):
        chunks.append(weigh(rankings, sample_weights(patient, min(size, n_resamples - start), generator)))
        advance(len(chunks[-1].auroc))
    return Ranked(np.concatenate([c.auroc for c in chunks]), np.concatenate([c.auprc for c in chunks]))


def sample_weights(
    patient: Int64[np.ndarray, " record"], n_resamples: int, generator: np.random.Generator
) -> Float32[np.ndarray, "record resample"]:
    """Sample how often each record is in each resample: as often as its patient. `patient` is an index from 0."""
    n_patients = int(patient.max()) + 1
    sample = generator.integers(n_patients, size=(n_resamples, n_patients))
    sample += n_patients * np.arange(n_resamples)[:, None]
    counts = np.bincount(sample.ravel(), minlength=sample.size).reshape(sample.shape)
    return np.ascontiguousarray(counts.T.astype(np.float32)[patient])


def interval(
    resamples: Float[np.ndarray, "resample ..."], level: float = 0.95
) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """Compute the percentile interval over the resamples in which the figure is defined; nan where it never is."""
    defined = ~np.isnan(resamples).all(axis=0)
    filled = np.where(defined, resamples, 0.0)  # nanquantile warns of columns that are all nan
    low, high = np.nanquantile(filled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.where(defined, low, np.nan), np.where(defined, high, np.nan)


def mirrored_interval(
    value: float, resamples: Float[np.ndarray, " resample"], level: float = 0.95
) -> tuple[float, float]:
    """Compute the percentile interval mirrored at the value (the basic bootstrap of Davison and Hinkley, 1997).

    It suits figures that resampling biases, such as average precision: a positive that is sampled twice is found with
    twice the precision. In the mean over labels that bias stays while the variance shrinks. There, with 3 to 320
    positives a label, the percentile interval held the truth in 53 % of 150 samples, and this one in 90 %. The interval
    is clipped to 0 and 1.
    """
    low, high = interval(resamples, level)
    return min(value, max(0.0, float(2 * value - high))), max(value, min(1.0, float(2 * value - low)))
