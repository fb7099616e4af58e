"""Records that kept the shape of their waves and lost their voltage, as normalised copies of ECGs have."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

TYPICAL_MV = 0.24
"""Deviation of all samples of PTB-XL's training records about 0."""
ALIKE = 0.02
"""Leads' sizes deviate relatively by less than this when they were made the same. In each of 2,277 records of PTB-XL
those of all twelve leads deviate by 0.10 or more, of any six that follow one another by 0.025."""
FEWEST = 6
"""Leads, of which so much can be said."""
EXACT = 0.002
"""How near to a round number a value is that was made so."""
RANGES = (0.0, 1.0), (-1.0, 1.0)
"""To which records are stretched."""
PEAK = 2e-4
"""How near to 1 mV the largest value alone must be, for by chance it may be so: of 2,277 records of PTB-XL in none by
ten times as much."""
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
    if any(abs(lowest.min() - low) < EXACT and abs(highest.max() - high) < EXACT for low, high in RANGES):
        return Loss("record", f"the voltage was lost, for values go from {lowest.min():.2g} to 1")
    if abs(max(highest.max(), -lowest.min()) - 1) < PEAK and len(deviation) >= FEWEST:
        return Loss("record", "the voltage was lost, for the largest value of all is 1")
    return unstated


def to_typical(signal: Float32[np.ndarray, "*rest time"], axes: tuple[int, ...]) -> Float32[np.ndarray, "*rest time"]:
    """At one root of the mean square over these axes; what is 0 stays so."""
    found = np.sqrt(np.square(signal, dtype=np.float64).mean(axis=axes, keepdims=True))
    return (signal * np.divide(TYPICAL_MV, found, out=np.zeros_like(found), where=found > 0)).astype(np.float32)
