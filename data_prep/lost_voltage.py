"""Records that kept the shape of their waves and lost their voltage, as normalized copies of ECGs have."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

from data_prep.perturb import scale_to_rms

TYPICAL_MV = 0.24
"""Deviation of all samples of PTB-XL's training records about 0."""
ALIKE = 0.02
"""Leads' sizes deviate relatively by less than this when they were made the same. In each of 2,277 records of PTB-XL
those of all twelve leads deviate by 0.10 or more, of any six that follow one another by 0.025."""
FEWEST = 6
"""Leads, of which so much can be said."""
EXACT = 0.002
"""How near to a round number a value is that was made so and rounded to three digits."""
PEAK = 2e-5
"""How near to 1 the largest values are that were made so: 16-bit steps over −1 to 1 round to within 1.5e-5."""
STEPS = 1000.0, 400.0
"""Steps in a millivolt. Recorders whose largest value can be 1.000 mV exactly write multiples of 1 or 2.5 µV."""
ON_STEP = 0.01
"""Part of a step by which float32 may put a value off it."""
SIZES = "deviation", "span", "largest value"
EACH_LEAD, ALL = (-1,), (-2, -1)
"""Axes of (lead, time) over which a signal is still to scale."""
AXES = {"lead": EACH_LEAD, "record": ALL}
"""What lost its voltage by itself, and is still to scale."""


class Loss(NamedTuple):
    of: Literal["lead", "record"]
    found: str

    @property
    def warning(self) -> str:
        return f"{self.found}; it is brought to {TYPICAL_MV} mV RMS, and what is judged by voltage is unsure."


def find_loss(signal: Float32[np.ndarray, "lead time"], calibrated: bool = True) -> Loss | None:
    """How the voltage of a record was lost, by what its values tell; None where it seems to be kept.

    Samples that are not a number of each lead tell nothing.
    """
    unstated = None if calibrated else Loss("record", "the values are said to be no voltages")
    signal = signal[np.isfinite(signal).any(axis=1)]  # a missing lead
    finite = np.isfinite(signal).all(axis=0)
    signal = signal if finite.all() else signal[:, finite]
    if not signal.size or not (moving := signal.max(axis=1) > signal.min(axis=1)).any():
        return unstated
    signal = signal if moving.all() else signal[moving]
    with np.errstate(over="ignore", invalid="ignore"):
        deviation, offset = signal.std(axis=1), signal.mean(axis=1)
        lowest, highest = signal.min(axis=1), signal.max(axis=1)
        sizes = np.stack([deviation, highest - lowest, np.maximum(highest, -lowest)])
        alike = sizes.std(axis=1) < ALIKE * sizes.mean(axis=1)
        overall = np.sqrt(np.square(deviation).mean() + offset.var())
    if alike.any() and len(deviation) >= FEWEST:
        return Loss("lead", f"each lead lost its voltage, for all have the same {SIZES[alike.argmax()]}")
    if abs(overall - 1) < EXACT:
        return Loss("record", "the voltage was lost, for all values together deviate by 1")
    bottom, top = float(lowest.min()), float(highest.max())
    if abs(bottom) < EXACT and abs(top - 1) < EXACT:
        return Loss("record", "the voltage was lost, for values go from 0 to 1")
    both = abs(bottom + 1) < PEAK and abs(top - 1) < PEAK
    one = abs(max(top, -bottom) - 1) < PEAK and len(deviation) >= FEWEST
    if (both or one) and not lies_on_steps(signal):
        how = "values go from -1 to 1" if both else "the largest value of all is 1"
        return Loss("record", f"the voltage was lost, for {how}")
    return unstated


def lies_on_steps(signal: Float32[np.ndarray, "lead time"]) -> bool:
    """Return whether all values are multiples of a recorder's step in millivolts.

    A recording whose largest value is 1.000 mV by chance lies on such steps. One that was divided by its largest value,
    K steps of the recorder, lies on steps of 1/K mV, which are a recorder's only where K divides 1000 or 400. Measured
    on records of PTB-XL that were requantized and then normalized:

    ==========================================  ==========  ========  =========
    recorder's step                             1 µV        5 µV      20 µV
    ==========================================  ==========  ========  =========
    divided by the largest value: missed        0 of 3,835  6 of 959  30 of 959
    brought to −1 to 1: missed                  0 of 3,835  1 of 959  18 of 959
    z-scored, 0 to 1, or lead by lead: missed   0 of 3,835  0 of 959  0 of 959
    ==========================================  ==========  ========  =========

    The copies were written as float32, with 7 and with 4 digits, with the same counts. Of all 3,835 records as they
    are, requantized at 1, 2.5, 4.88, 5, 10 and 20 µV, none is taken for lost.
    """
    for steps in STEPS:
        scaled = signal.astype(np.float64) * steps
        if np.abs(scaled - np.rint(scaled)).max() < ON_STEP:
            return True
    return False


def to_typical(signal: Float32[np.ndarray, "*rest time"], axes: tuple[int, ...]) -> Float32[np.ndarray, "*rest time"]:
    """Scale a signal to the typical root mean square over these axes. What is 0 stays 0."""
    return scale_to_rms(signal.astype(np.float64), TYPICAL_MV, axes).astype(np.float32)
