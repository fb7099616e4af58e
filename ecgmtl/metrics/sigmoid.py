"""Logits to probabilities and back. scipy.special has both, but its import takes longer than to predict a record."""

import numpy as np
from jaxtyping import Float, Float64


def sigmoid(logits: Float[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """Compute 1 / (1 + exp(-x)), in double precision."""
    with np.errstate(over="ignore"):  # an infinite exponential gives a probability of 0
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def logit(probabilities: Float[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """Compute log(p / (1 - p)), in double precision, of probabilities between 0 and 1."""
    probabilities = probabilities.astype(np.float64)
    return np.asarray(np.log(probabilities) - np.log1p(-probabilities))
