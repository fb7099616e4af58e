"""Hum of the power line at 50 or 60 Hz. It shows only in records sampled at 150 Hz or more.

The amplitude is measured in each second and compared with those 5 Hz above and below. The value is the median over the
seconds. It is above the bound in 2 of 267 records of PTB-XL's fold 9 at 500 Hz, at 50 Hz, their country's power-line
frequency.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from jaxtyping import Float32

from data_prep.leads import name_leads
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding

LARGEST_HUM = 0.02
"""Amplitude in mV above which there is hum."""
STANDS_OUT = 3.0
"""Ratio of the amplitude to those beside it above which there is hum."""
LOWEST_RATE = 150.0
"""Lowest sampling rate in hertz: above twice the 65 Hz beside the line."""
LINES = (50.0, 60.0)
BESIDE = 5.0


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a note on leads with hum."""
    fs = subject.recorded_fs
    if not subject.calibrated or fs < LOWEST_RATE or subject.recorded.shape[1] < fs:
        return
    for line in LINES:
        below, at, above = (amplitude(subject.recorded, fs, line + offset) for offset in (-BESIDE, 0.0, BESIDE))
        hums = (at > LARGEST_HUM) & (at > STANDS_OUT * np.maximum(below, above))
        if hums.any():
            leads = tuple(lead for lead, hum in zip(subject.recorded_leads, hums, strict=True) if hum)
            size = float(at[hums].max())
            sentence = f"hum at {line:g} Hz, as from the power line, reaches {size:.2g} mV in {name_leads(leads)}."
            yield Finding("powerline", sentence, leads=leads, value=size)


def amplitude(signal: Float32[np.ndarray, "lead time"], fs: float, hertz: float) -> Float32[np.ndarray, " lead"]:
    """Return the amplitude at a frequency: the median over the seconds."""
    size = int(fs)
    seconds = signal[:, : signal.shape[1] // size * size].reshape(len(signal), -1, size)
    return np.median(np.linalg.norm(seconds @ _waves(fs, hertz), axis=2), axis=1)


@lru_cache(maxsize=64)
def _waves(fs: float, hertz: float) -> Float32[np.ndarray, "second 2"]:
    """Return a cosine and a sine of a second, windowed and scaled so that the product with a wave is its amplitude."""
    size = int(fs)
    window = np.hanning(size)
    angle = 2 * np.pi * hertz * np.arange(size) / fs
    waves = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (2 * window / window.sum())[:, None]
    waves -= window[:, None] * waves.sum(axis=0) / window.sum()  # an offset of the lead has no amplitude
    return waves.astype(np.float32)
