"""Resampling and band-pass filtering of signals.

NumPy alone computes what `resample_poly`, `butter` and `sosfilt` of scipy.signal do, and tests compare the results.
Importing scipy.signal would take more than half of the time in which a process predicts its first record.
"""

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex128, Float32, Float64

MIRRORED = 1.5
"""Length by which a record is mirrored at its ends before it is filtered, in periods of the filter's lower edge."""
CLOCK = 1e-6
"""Relative error allowed in the ratio of two rates. A recorder's own clock is off by ten times as much."""
LONGEST = 1_000_000
"""Largest denominator. Some fraction p/q up to it is within CLOCK of any ratio below one, since its error is less than
1 / (p LONGEST)."""
REACH, KAISER = 10, 5.0
"""Half of the length of the low-pass filter for resampling, in samples of the lower rate, and the shape parameter of
its Kaiser window. Both are the defaults of scipy.signal.resample_poly."""
BLOCK = 32
"""Number of samples that the band-pass filter computes at once. 48 is as fast, and 96 takes two fifths longer."""
N_BLOCKS = 64
"""Number of blocks through which the state is carried at once: enough for 10 s at 100 Hz and what is mirrored."""
ROWS = 12
"""Number of leads that are filtered at once, so that they stay in the processor's cache."""


def resample(signal: Float32[np.ndarray, "lead time"], old: float, new: float) -> Float32[np.ndarray, "lead resampled"]:
    """Return the signal at another sampling rate, in hertz."""
    if old == new:
        return signal
    ratio = ratio_of(new, old)
    return _resample_by(signal, ratio.numerator, ratio.denominator)


def ratio_of(new: float, old: float) -> Fraction:
    """Return new / old to within CLOCK, in small numbers, since the filter is as long as the larger of them."""
    if new > old:
        return 1 / ratio_of(old, new)
    exact = Fraction(new) / Fraction(old)
    nearest = (exact.limit_denominator(limit) for limit in (10_000, 100_000, LONGEST))
    return next(ratio for ratio in nearest if abs(ratio / exact - 1) <= CLOCK)


def _resample_by(signal: Float32[np.ndarray, "lead time"], up: int, down: int) -> Float32[np.ndarray, "lead resampled"]:
    """Resample by up / down, which have no common divisor.

    The signal is filtered as if it had `up` - 1 zeros between its samples, and every `down`-th value is kept. Only
    those values are computed, and products with zeros are left out. Sums are in the order of time.
    """
    n_samples = signal.shape[1]
    taps = _low_pass(max(up, down)) * np.float32(up)
    n_terms = -(-len(taps) // up)
    last, phase = np.divmod(len(taps) // 2 + down * np.arange(-(-n_samples * up // down)), up)
    taps = np.append(taps, np.zeros(n_terms * up - len(taps), np.float32)).reshape(n_terms, up)
    before = max(n_terms - 1 - int(last[0]), 0)
    extended = _extend(signal, before, max(int(last[-1]) + 1 - n_samples, 0))
    resampled = np.zeros((len(signal), len(last)), np.float32)
    term = np.empty_like(resampled)
    for delay in range(n_terms - 1, -1, -1):
        np.take(extended, last + (before - delay), axis=1, out=term, mode="clip")  # it lies within; "raise" is slow
        term *= taps[delay, phase]
        resampled += term
    return resampled


@lru_cache(maxsize=2)
def _low_pass(rate: int) -> Float32[np.ndarray, " tap"]:
    """Return the taps of a low-pass filter that keeps what 1 / `rate` of the sampling rate can hold."""
    time = np.arange(-REACH * rate, REACH * rate + 1)
    taps = np.sinc(time / rate) / rate * np.kaiser(len(time), KAISER)
    return (taps / taps.sum()).astype(np.float32)


def _extend(signal: Float32[np.ndarray, "lead time"], before: int, after: int) -> Float32[np.ndarray, "lead extended"]:
    """Extend a signal beyond its ends along the line between them, since zeros there would ring."""
    first, last = signal[:, :1], signal[:, -1:]
    slope = (last - first) / np.float32(max(signal.shape[1] - 1, 1))
    left = first + np.arange(-before, 0, dtype=np.float32) * slope
    right = last + np.arange(1, after + 1, dtype=np.float32) * slope
    return np.concatenate([left, signal, right], axis=1)


def band_pass(
    signal: Float32[np.ndarray, "*rest time"], fs: float, low: float, high: float | None
) -> Float32[np.ndarray, "*rest time"]:
    """Apply a second-order Butterworth filter forward and backward.

    The edges are in hertz. Without a higher edge it is a high-pass filter.
    """
    rows, matrices = signal.reshape(-1, signal.shape[-1]), _design(fs, low, high)
    # a record that begins within a beat rings least where it is mirrored
    reach = min(rows.shape[1] - 1, round(MIRRORED * fs / low))
    filtered = np.empty(rows.shape, np.float32)
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        samples = np.concatenate([part[:, reach:0:-1], part, part[:, -2 : -reach - 2 : -1]], axis=1, dtype=np.float64)
        for _ in range(2):  # forward, then backward
            samples = _filter(samples, matrices)[:, ::-1]
        filtered[start : start + ROWS] = samples[:, reach : reach + rows.shape[1]]
    return filtered.reshape(signal.shape)


class _Matrices(NamedTuple):
    """A recursive filter that computes blocks of samples at once. The state holds the effect of all earlier samples."""

    direct: Float64[np.ndarray, "block block"]
    """Matrix from a block's input to its output."""
    store: Float64[np.ndarray, "block state"]
    """Matrix from a block's input to what it adds to the state."""
    recall: Float64[np.ndarray, "state block"]
    """Matrix from the state before a block to its output."""
    spread: Float64[np.ndarray, "states states"]
    """Matrix from a state, and what each of N_BLOCKS blocks adds, to the states before each block and at the end."""


def _filter(samples: Float64[np.ndarray, "row time"], matrices: _Matrices) -> Float64[np.ndarray, "row time"]:
    """Run a filter over rows as if the first sample of each had been there forever.

    The filter removes what is constant, so that this is the same as to start at rest from the difference to it.
    """
    n_rows, n_samples = samples.shape
    padded = np.zeros((n_rows, -(-n_samples // BLOCK) * BLOCK))
    np.subtract(samples, samples[:, :1], out=padded[:, :n_samples])
    blocks = padded.reshape(-1, BLOCK)
    added = (blocks @ matrices.store).reshape(n_rows, -1)
    states = np.empty_like(added)
    n_values = len(matrices.recall)
    state = np.zeros((n_rows, n_values))
    for start in range(0, added.shape[1], N_BLOCKS * n_values):
        part = added[:, start : start + N_BLOCKS * n_values]
        known = np.concatenate([state, part], axis=1)
        following = known @ matrices.spread[: known.shape[1], : known.shape[1]]
        states[:, start : start + part.shape[1]] = following[:, :-n_values]
        state = following[:, -n_values:]
    filtered = blocks @ matrices.direct
    filtered += states.reshape(-1, n_values) @ matrices.recall
    return filtered.reshape(n_rows, -1)[:, :n_samples]


@lru_cache(maxsize=64)
def _design(fs: float, low: float, high: float | None) -> _Matrices:
    """Return the filter with edges in hertz."""
    poles, residues, direct = _butterworth(fs, low, high)
    powers = poles[:, None] ** np.arange(BLOCK)
    recalled = 2 * residues[:, None] * powers  # twice the real part: each pole has its conjugate
    response = np.append(direct, recalled.real.sum(axis=0)[:-1])
    time = np.arange(BLOCK)
    return _Matrices(
        direct=np.triu(response[time - time[:, None]]),
        store=np.concatenate([powers.real, powers.imag])[:, ::-1].T,
        recall=np.concatenate([recalled.real, -recalled.imag]),
        spread=_spread(poles),
    )


def _spread(poles: Complex128[np.ndarray, " pole"]) -> Float64[np.ndarray, "states states"]:
    """Return how states follow from earlier ones: over n blocks each is multiplied by its pole to the power n BLOCK."""
    n_poles, positions = len(poles), np.arange(N_BLOCKS + 1)
    n_later = positions - positions[:, None]
    factors = np.where(n_later >= 0, poles[:, None, None] ** (BLOCK * np.maximum(n_later, 0)), 0)
    spread = np.zeros((len(positions), 2, n_poles, len(positions), 2, n_poles))
    for pole, factor in enumerate(factors):
        spread[:, 0, pole, :, 0, pole] = spread[:, 1, pole, :, 1, pole] = factor.real
        spread[:, 0, pole, :, 1, pole] = factor.imag
        spread[:, 1, pole, :, 0, pole] = -factor.imag
    return spread.reshape(len(positions) * 2 * n_poles, -1)


def _butterworth(
    fs: float, low: float, high: float | None
) -> tuple[Complex128[np.ndarray, " pole"], Complex128[np.ndarray, " pole"], float]:
    """Design a second-order Butterworth filter by the bilinear transform s = (z - 1) / (z + 1).

    Returns:
        The poles in z above the real axis, their residues, and the response at once.
    """
    edge = np.tan(np.pi * low / fs)
    prototype = np.exp(0.75j * np.pi)  # pole of the low pass with edge 1
    if high is None:
        gain, poles = 1.0, np.array([edge / prototype])
    else:
        upper = np.tan(np.pi * high / fs)
        gain, middle = (upper - edge) ** 2, prototype * (upper - edge) / 2
        root = np.sqrt(middle**2 - edge * upper)
        poles = np.array([middle + root, middle - root])
    both = np.concatenate([poles, poles.conj()])
    others = [np.delete(both, index) for index in range(len(poles))]
    # the filter is gain s² / Π (s - pole); near a pole, z - z(pole) is 2 (s - pole) / (1 - pole)²
    residues = [gain * p**2 / np.prod(p - rest) * 2 / (1 - p) ** 2 for p, rest in zip(poles, others, strict=True)]
    return (1 + poles) / (1 - poles), np.array(residues), float((gain / np.prod(1 - both)).real)
