"""How sure a figure is: the same figure over patients drawn again with replacement, each with all of their records."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, Shaped

from ecgmtl.metrics.ranking import Ranked, rank_labels, weigh

CHUNK_VALUES = 2**19
"""Weights in one chunk of resamples, 2 MB: it stays in a processor's cache while all labels go over it."""


def bootstrap(
    scores: Float[np.ndarray, "record label"],
    labels: Shaped[np.ndarray, "record label"],
    patients: Int64[np.ndarray, " record"],
    n_resamples: int = 1000,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Ranked:
    """AUROC and average precision of every label in each resample of patients; nan where a label lost a class.

    A resample is a weight a record, so each label is sorted once. The same seed and patients give the same resamples,
    so that two models are compared on the same draws. `advance` is told how many more resamples are done.
    """
    rankings = rank_labels(scores, labels)
    generator = np.random.default_rng(seed)
    _, place = np.unique(patients, return_inverse=True)
    size = max(16, CHUNK_VALUES // len(patients))
    chunks = []
    for start in range(0, n_resamples, size):
        chunks.append(weigh(rankings, draw_weights(place, min(size, n_resamples - start), generator)))
        advance(len(chunks[-1].auroc))
    return Ranked(np.concatenate([c.auroc for c in chunks]), np.concatenate([c.auprc for c in chunks]))


def draw_weights(
    place: Int64[np.ndarray, " record"], n_resamples: int, generator: np.random.Generator
) -> Float32[np.ndarray, "record resample"]:
    """How often each record is in each resample: as often as its patient was drawn. `place` numbers patients from 0."""
    n_patients = int(place.max()) + 1
    drawn = generator.integers(n_patients, size=(n_resamples, n_patients))
    drawn += n_patients * np.arange(n_resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
    return np.ascontiguousarray(counts.T.astype(np.float32)[place])


def interval(
    draws: Float[np.ndarray, "resample ..."], level: float = 0.95
) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """The percentile interval over the resamples in which the figure is defined; nan where it never is."""
    defined = ~np.isnan(draws).all(axis=0)
    filled = np.where(defined, draws, 0.0)  # nanquantile warns of columns that are all nan
    low, high = np.nanquantile(filled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.where(defined, low, np.nan), np.where(defined, high, np.nan)


def mirrored_interval(value: float, draws: Float[np.ndarray, " resample"], level: float = 0.95) -> tuple[float, float]:
    """The percentile interval turned round the value (the basic bootstrap of Davison and Hinkley, 1997).

    For figures that resampling pushes to one side, as it does average precision: a positive drawn twice is found twice
    as precisely. In the mean over labels that bias stays while the spread shrinks; there, with 3 to 320 positives a
    label, the percentile interval held the truth in 53 % of 150 samples, this one in 90 %. It ends at 0 and at 1.
    """
    low, high = interval(draws, level)
    return min(value, max(0.0, float(2 * value - high))), max(value, min(1.0, float(2 * value - low)))
