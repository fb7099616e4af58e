"""Steps of the leads: how far each moves within a few hundredths of a second. They are large where it has a beat."""

import numpy as np
from jaxtyping import Float32

LAG = 0.04
"""Seconds between the samples whose difference is a step."""


def lag_of(fs: float) -> int:
    """Return LAG in samples."""
    return max(round(LAG * fs), 1)


def steps(leads: Float32[np.ndarray, "lead time"], fs: float) -> Float32[np.ndarray, "lead step"]:
    """Return the absolute differences between samples LAG apart."""
    lag = lag_of(fs)
    return np.abs(leads[:, lag:] - leads[:, :-lag])


def largest_of_blocks(moved: Float32[np.ndarray, "lead step"], size: int) -> Float32[np.ndarray, "lead block"]:
    """Return the largest step in each whole block of `size` steps."""
    n_blocks = moved.shape[1] // size
    blocks = moved[:, : n_blocks * size].reshape(len(moved), n_blocks, size)
    return np.ascontiguousarray(blocks.transpose(2, 0, 1)).max(axis=0)  # ten times faster than along short blocks
