"""Whether probabilities mean what they say: of the records given 30 %, do three in ten have the label?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

N_BINS = 15


class Bins(NamedTuple):
    """Records by probability, in 15 bins of equal width; a bin holds its lower edge, the last one both edges."""

    n_records: Int64[np.ndarray, "label bin"]
    probability: Float64[np.ndarray, "label bin"]
    """Mean probability of the bin's records; nan where it has none."""
    observed: Float64[np.ndarray, "label bin"]
    """Share of the bin's records that have the label; nan where it has none."""


def reliability_bins(probabilities: Float[np.ndarray, "record label"], truth: Bool[np.ndarray, "record label"]) -> Bins:
    n_records, n_labels = truth.shape
    place = np.minimum((probabilities * N_BINS).astype(np.int64), N_BINS - 1)
    cell = (place + N_BINS * np.arange(n_labels)).ravel()

    def add_up(values: np.ndarray) -> np.ndarray:
        return np.bincount(cell, weights=values.ravel(), minlength=n_labels * N_BINS).reshape(n_labels, N_BINS)

    held = add_up(np.ones((n_records, n_labels)))
    with np.errstate(invalid="ignore"):
        return Bins(held.astype(np.int64), add_up(probabilities) / held, add_up(truth) / held)


def expected_calibration_error(bins: Bins) -> Float64[np.ndarray, " label"]:
    """Distance between mean probability and observed share, the mean over the records (Guo et al., ICML 2017)."""
    distance = np.abs(np.nan_to_num(bins.probability - bins.observed))
    return (bins.n_records * distance).sum(axis=1) / bins.n_records.sum(axis=1)


def brier(
    probabilities: Float[np.ndarray, "record label"], truth: Bool[np.ndarray, "record label"]
) -> Float64[np.ndarray, " label"]:
    """Mean squared difference between probability and label."""
    return np.square(probabilities.astype(np.float64) - truth).mean(axis=0)
