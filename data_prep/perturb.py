"""Changes to ECGs that training's augmentation and evaluation's stress test both make.

Each is written once for NumPy arrays and torch tensors, by the operations that both have. Time is the last axis, and
the 12 standard leads are the one before it.
"""

from typing import Any, TypeVar

import numpy as np

from data_prep.leads import STANDARD_LEADS

Array = TypeVar("Array", bound=Any)
"""A NumPy array or a torch tensor."""

ARMS_SWAPPED = tuple(
    STANDARD_LEADS.index(lead) for lead in ("I", "III", "II", "aVL", "aVR", "aVF", *STANDARD_LEADS[6:])
)
"""Index of the lead whose trace each lead shows when the arm electrodes are swapped. Lead I is negated as well."""
WANDER_HERTZ = 0.05, 0.5
"""Range of the frequencies of baseline wander, as breathing and skin cause it."""


def swap_arms(signals: Array, index: Any = ARMS_SWAPPED) -> Array:
    """Swap the arm electrodes: negate I, exchange II with III and aVR with aVL; aVF and the chest leads stay.

    `index` is ARMS_SWAPPED, or the same numbers as a tensor on the signals' device.
    """
    swapped = signals[..., index, :]
    swapped[..., 0, :] *= -1
    return swapped


def scale_to_rms(signals: Array, rms: Any, axes: tuple[int, ...]) -> Array:
    """Scale signals to a root mean square (a number or one for each signal) over these axes, as a loss of voltage does.

    Flat signals stay flat.
    """
    actual = (signals**2).mean(axis=axes, keepdims=True) ** 0.5
    return signals * (rms / (actual + (actual == 0)))


def wander(uniform: Array, seconds: Array) -> Array:
    """Return baseline wander: sines of amplitude 1 at these times, with random frequency and phase.

    `uniform` is of the shape (2, ..., 1) and holds two random numbers between 0 and 1 for each sine.
    """
    low, high = WANDER_HERTZ
    hertz, phase = low + (high - low) * uniform[0], 2 * np.pi * uniform[1]
    angle = 2 * np.pi * hertz * seconds + phase
    sines: Any = np.sin(angle) if isinstance(angle, np.ndarray) else angle.sin()
    return sines
