"""Spikes of a pacemaker. They last 0.5 to 2 ms, so they show only in records sampled at 450 Hz or more.

The value is the third largest spike in mV: the smaller of two steps, up and down or down and up, of 2 ms each. Of 267
records of PTB-XL's fold 9 at 500 Hz, 3 of the 4 with a pacemaker have three spikes above the bound, and none of the
others does. Their largest value is 0.26 mV. A recorder that filters below 150 Hz leaves no spikes, so a record without
this finding may be paced.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from data_prep.quality import noise
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding

SMALLEST_SPIKE = 0.3
"""Smallest size of a spike, in mV."""
ABOVE_NOISE = 6.0
"""Smallest size of a spike, as a multiple of the standard deviation of the high-frequency noise."""
FEWEST = 3
"""Number of spikes in a record."""
STEP = 0.002
"""Seconds of a step."""
APART = 0.2
"""Least distance between spikes, in seconds. A dual-chamber pacemaker's two spikes may count as one."""
LOWEST_RATE = 450.0


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a note if there are several spikes."""
    if not subject.calibrated or subject.recorded_fs < LOWEST_RATE:
        return
    sizes = spikes(subject.recorded, subject.recorded_fs)
    smallest = max(SMALLEST_SPIKE, ABOVE_NOISE * float(noise.measure(subject.recorded, subject.recorded_fs).max()))
    if len(sizes) >= FEWEST and sizes[FEWEST - 1] > smallest:
        n_spikes = int((sizes > smallest).sum())
        sentence = f"{n_spikes} sharp spikes, like those of a pacemaker; the model was hardly trained on paced hearts."
        yield Finding("pacing-spikes", sentence, value=float(sizes[FEWEST - 1]))


def spikes(signal: Float32[np.ndarray, "lead time"], fs: float) -> Float32[np.ndarray, " spike"]:
    """Return the largest spike of all leads in each APART seconds, the largest first, in mV."""
    lag = round(STEP * fs)
    step = signal[:, lag:] - signal[:, :-lag]
    size = np.minimum(np.abs(step[:, :-lag]), np.abs(step[:, lag:]))
    size[(step[:, :-lag] > 0) == (step[:, lag:] > 0)] = 0
    largest = size.max(axis=0)
    length = round(APART * fs)
    parts = largest[: len(largest) // length * length].reshape(-1, length)
    return np.sort(parts.max(axis=1))[::-1]
