"""Resampling and band-pass filtering of signals."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64
from scipy.signal import butter, resample_poly, sosfilt, sosfilt_zi

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
    sections, settled = _design(fs, low, high)
    settled = settled.reshape(len(sections), *[1] * (signal.ndim - 1), 2)
    # a record that begins within a beat rings least where it is mirrored
    reach = min(signal.shape[-1] - 1, round(MIRRORED * fs / low))
    samples = np.concatenate([signal[..., reach:0:-1], signal, signal[..., -2 : -reach - 2 : -1]], axis=-1)
    for _ in range(2):  # forwards, then backwards
        # each section begins as if the first sample had been there for ever
        samples, _ = sosfilt(sections, samples, zi=samples[..., :1] * settled)
        samples = samples[..., ::-1]
    return samples[..., reach : reach + signal.shape[-1]].astype(np.float32)


@lru_cache(maxsize=64)
def _design(
    fs: float, low: float, high: float | None
) -> tuple[Float64[np.ndarray, "section 6"], Float64[np.ndarray, "section 2"]]:
    """Return the filter's sections, and the state that each has reached where its input was always 1.

    Computing them takes several times as long as filtering a record of 10 s.
    """
    if high is None:
        sections = butter(2, low, "highpass", fs=fs, output="sos")
    else:
        sections = butter(2, (low, high), "bandpass", fs=fs, output="sos")
    return sections, sosfilt_zi(sections)
