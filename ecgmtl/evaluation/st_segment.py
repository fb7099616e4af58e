"""Location of the ST segment of each beat, by an existing detector of QRS complexes.

Beats are found by `gqrs` of the wfdb package on the vector magnitude of the 8 independent leads. On 267 records of
PTB-XL at 100 Hz it left 1 interval under 350 ms, while `xqrs` counted T waves as beats (333 such intervals; 523 on lead
II). NeuroKit2 would give each beat's J point, but at 100 Hz, with pandas 3, it found none in 15 to 24 % of the beats,
and QRS complexes no longer in conduction disturbances than in normal ECGs (105 and 118 ms on lead II). The J point is
therefore taken at a fixed distance from the peak. What is measured there is the difference between two signals at the
same samples, for which a shift of 20 ms within the ST segment matters little.
"""

import numpy as np
from jaxtyping import Bool, Float, Int64

from data_prep.filters import resample
from data_prep.leads import BASIS_INDEX

PEAK_SECONDS = 0.1
"""Time after the detection within which the peak of the vector magnitude is searched. Detections come with the first
slope."""
J_SECONDS = 0.06
"""Time from the peak to the J point, where the median spatial velocity falls below 5 mV/s in normal ECGs of PTB-XL. In
conduction disturbances that takes 80 ms, so their ST segment is measured 40 to 60 ms after the J point."""
ST_SECONDS = 0.06, 0.08
"""Times from the J point to the start and end of the part that is measured."""
SLOWEST = 60
"""Lowest sampling rate, in hertz, at which `gqrs` finds beats."""


def find_peaks(signal: Float[np.ndarray, "12 time"], fs: float) -> Int64[np.ndarray, " beat"]:
    """Return the sample of each beat at which the vector magnitude is largest; none where no beat is found."""
    from wfdb.processing import gqrs_detect

    basis = signal[BASIS_INDEX].astype(np.float64)
    magnitude = np.linalg.norm(basis - np.median(basis, axis=1, keepdims=True), axis=0)
    if not magnitude.any():
        return np.zeros(0, np.int64)
    faster = 1 if fs >= SLOWEST else 2
    at_rate = resample(magnitude[None].astype(np.float32), fs, faster * fs)[0] if faster > 1 else magnitude
    detections = gqrs_detect(sig=at_rate, fs=faster * fs, adc_gain=1000, adc_zero=0)
    reach = round(PEAK_SECONDS * fs) + 1
    starts = [int(beat) // faster for beat in detections]
    return np.array([start + int(magnitude[start : start + reach].argmax()) for start in starts], np.int64)


def find_st(signal: Float[np.ndarray, "12 time"], fs: float) -> Bool[np.ndarray, " time"]:
    """Return a mask of the samples from J + 60 ms to J + 80 ms of every beat. Signal in mV, fs in hertz."""
    first, last = (round((J_SECONDS + end) * fs) for end in ST_SECONDS)
    index = (find_peaks(signal, fs)[:, None] + np.arange(first, last + 1)).ravel()
    is_st = np.zeros(signal.shape[1], dtype=bool)
    is_st[index[index < len(is_st)]] = True
    return is_st
