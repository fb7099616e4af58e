"""Resampling and band-pass filtering of signals."""

from fractions import Fraction

import numpy as np
from jaxtyping import Float32
from scipy.signal import butter, resample_poly, sosfiltfilt

MIRRORED = 1.5
"""Length by which a record is mirrored at its ends before it is filtered, in periods of the filter's lower edge."""
CLOCK = 1e-6
"""Relative error allowed in the ratio of two rates. A recorder's own clock is off by ten times as much."""
LONGEST = 1_000_000
"""Largest denominator. Some fraction p/q up to it is within CLOCK of any ratio below one, since its error is less than
1 / (p LONGEST)."""


def resample(signal: Float32[np.ndarray, "lead time"], old: float, new: float) -> Float32[np.ndarray, "lead resampled"]:
    """Return the signal at another sampling rate, in hertz."""
    if old == new:
        return signal
    ratio = ratio_of(new, old)
    # extended beyond its ends along the line between them, since zeros there would ring
    resampled = resample_poly(signal, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    return resampled.astype(np.float32, copy=False)


def ratio_of(new: float, old: float) -> Fraction:
    """Return new / old to within CLOCK, in small numbers, since the filter is as long as the larger of them."""
    if new > old:
        return 1 / ratio_of(old, new)
    exact = Fraction(new) / Fraction(old)
    nearest = (exact.limit_denominator(limit) for limit in (10_000, 100_000, LONGEST))
    return next(ratio for ratio in nearest if abs(ratio / exact - 1) <= CLOCK)


def band_pass(
    signal: Float32[np.ndarray, "*rest time"], fs: float, low: float, high: float | None
) -> Float32[np.ndarray, "*rest time"]:
    """Apply a second-order Butterworth filter forwards and backwards.

    The edges are in hertz. Without a higher edge it is a high-pass filter.
    """
    if high is None:
        filters = butter(2, low, "highpass", fs=fs, output="sos")
    else:
        filters = butter(2, (low, high), "bandpass", fs=fs, output="sos")
    # a record that begins within a beat rings least where it is mirrored
    reach = min(signal.shape[-1] - 1, round(MIRRORED * fs / low))
    return sosfiltfilt(filters, signal, axis=-1, padtype="even", padlen=reach).astype(np.float32)
