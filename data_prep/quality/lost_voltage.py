"""Detection of a lost voltage scale: normalized copies of ECGs keep the shape of the waves, but not their size."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64

from data_prep.perturb import scale_to_rms
from data_prep.quality.finding import Finding

TYPICAL_MV = 0.24
"""Root mean square of all samples of PTB-XL's training records."""
ALIKE = 0.02
"""Relative deviation of the leads' sizes below which they were scaled to one size. It is 0.10 or more for the twelve
leads of each of 2,277 records of PTB-XL, and 0.025 or more for any six leads that follow one another."""
ALIKE_FILTERED = 0.05
"""The same for twelve leads whose scaling a filter may have followed, which hardly changes the deviation."""
FEWEST = 6
"""Smallest number of leads that are compared."""
EXACT = 0.002
"""Largest distance from a round number of a value that was scaled to it and rounded to three digits."""
PEAK = 2e-5
"""Largest distance from 1 of a largest value that was scaled to it: 16-bit steps over −1 to 1 round to 1.5e-5."""
STEPS = 1000.0, 400.0
"""Steps in a millivolt. Recorders whose largest value can be 1.000 mV exactly write multiples of 1 or 2.5 µV."""
ON_STEP = 0.01
"""Largest distance of a value from its step in float32, in steps."""
SIZES = "deviation", "span", "largest value"
EACH_LEAD, ALL = (-1,), (-2, -1)
"""Axes of (lead, time) over which one voltage scale holds."""
AXES = {"lead": EACH_LEAD, "record": ALL}
"""Axes by what lost its voltage scale: each lead by itself, or the record as a whole."""


class Loss(NamedTuple):
    """Loss of a record's voltage scale."""

    of: Literal["lead", "record"]
    reason: str

    @property
    def finding(self) -> Finding:
        sentence = (
            f"{self.reason}; it is scaled to {TYPICAL_MV} mV RMS, and whatever depends on the voltage is uncertain."
        )
        return Finding("lost-voltage", sentence)


def find_loss(signal: Float32[np.ndarray, "lead time"], calibrated: bool = True) -> Loss | None:
    """Return how a record lost its voltage scale, as far as its values show it; None where it seems to be kept.

    Samples at which a lead is not a number are ignored.
    """
    finite = np.isfinite(signal)
    if not finite.all():
        is_there = finite.any(axis=1)  # False for a missing lead
        signal = signal[is_there][:, finite[is_there].all(axis=0)]
    if not signal.size or not (moving := signal.max(axis=1) > signal.min(axis=1)).any():
        return _unstated(calibrated)
    signal = signal if moving.all() else signal[moving]
    with np.errstate(over="ignore", invalid="ignore"):
        deviation, offset = signal.std(axis=1), signal.mean(axis=1)
        sizes = Sizes(deviation, offset, signal.min(axis=1), signal.max(axis=1))
    return judge(sizes, calibrated, lambda: lies_on_steps([signal]))


def find_loss_in_parts(
    parts: Callable[[], Iterator[Float32[np.ndarray, "lead time"]]], calibrated: bool
) -> Loss | None:
    """Return what `find_loss` returns for a recording that is read in parts, several times over."""
    is_there = np.any([np.isfinite(part).any(axis=1) for part in parts()], axis=0)

    def finite() -> Iterator[Float64[np.ndarray, "lead time"]]:
        for part in parts():
            part = part[is_there]
            yield part[:, np.isfinite(part).all(axis=0)].astype(np.float64)

    n, total, squares = 0, np.zeros(is_there.sum()), np.zeros(is_there.sum())
    lowest, highest = np.full(is_there.sum(), np.inf), np.full(is_there.sum(), -np.inf)
    for part in finite():
        n, total, squares = n + part.shape[1], total + part.sum(axis=1), squares + np.square(part).sum(axis=1)
        lowest = np.minimum(lowest, part.min(axis=1, initial=np.inf))
        highest = np.maximum(highest, part.max(axis=1, initial=-np.inf))
    moving = highest > lowest
    if not moving.any():
        return _unstated(calibrated)
    mean = total / n
    deviation = np.sqrt(np.maximum(squares / n - np.square(mean), 0))
    sizes = Sizes(*(values[moving] for values in (deviation, mean, lowest, highest)))
    return judge(sizes, calibrated, lambda: lies_on_steps(part[moving] for part in finite()))


class Sizes(NamedTuple):
    """Sizes of leads that are not constant."""

    deviation: Float[np.ndarray, " lead"]
    offset: Float[np.ndarray, " lead"]
    lowest: Float[np.ndarray, " lead"]
    highest: Float[np.ndarray, " lead"]


def _unstated(calibrated: bool) -> Loss | None:
    """Return the loss that the file or the user states, if one does."""
    return None if calibrated else Loss("record", "the file or --unit states that the values are not voltages")


def judge(leads: Sizes, calibrated: bool, on_steps: Callable[[], bool]) -> Loss | None:
    """Return how leads of these sizes lost their voltage scale. `on_steps` is what `lies_on_steps` returns for them."""
    deviation, offset, lowest, highest = leads
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.stack([deviation, highest - lowest, np.maximum(highest, -lowest)])
        alike = sizes.std(axis=1) < ALIKE * sizes.mean(axis=1)
        overall = np.sqrt(np.square(deviation).mean() + offset.var())
    if alike.any() and len(deviation) >= FEWEST:
        return Loss("lead", f"each lead lost its voltage scale: all have the same {SIZES[alike.argmax()]}")
    if abs(overall - 1) < EXACT:
        return Loss("record", "the voltage scale is lost: the standard deviation of all values is 1")
    bottom, top = float(lowest.min()), float(highest.max())
    if abs(bottom) < EXACT and abs(top - 1) < EXACT:
        return Loss("record", "the voltage scale is lost: the values span exactly 0 to 1")
    both = abs(bottom + 1) < PEAK and abs(top - 1) < PEAK
    one = abs(max(top, -bottom) - 1) < PEAK and len(deviation) >= FEWEST
    if (both or one) and not on_steps():
        how = "the values span exactly -1 to 1" if both else "the largest value is exactly 1"
        return Loss("record", f"the voltage scale is lost: {how}")
    return _unstated(calibrated)


def lies_on_steps(parts: Iterable[Float[np.ndarray, "lead time"]]) -> bool:
    """Return whether all values are multiples of a recorder's step in millivolts.

    A recording whose largest value is 1.000 mV by chance lies on such steps. One that was divided by its largest value,
    K steps of the recorder, lies on steps of 1/K mV, which a recorder has only where K divides 1000 or 400. Records of
    PTB-XL that were requantized and then normalized are missed as follows:

    ==========================================  ==========  ========  =========
    recorder's step                             1 µV        5 µV      20 µV
    ==========================================  ==========  ========  =========
    divided by the largest value                0 of 3,835  6 of 959  30 of 959
    scaled to −1 to 1                           0 of 3,835  1 of 959  18 of 959
    z-scored, 0 to 1, or lead by lead           0 of 3,835  0 of 959  0 of 959
    ==========================================  ==========  ========  =========

    The copies were written as float32, with 7 and with 4 digits, with the same counts. Of all 3,835 records as they
    are, requantized at 1, 2.5, 4.88, 5, 10 and 20 µV, none is judged to have lost its voltage scale.
    """
    may_be = set(STEPS)
    for part in parts:
        values = part.astype(np.float64)
        may_be = {n for n in may_be if np.abs(values * n - np.rint(values * n)).max(initial=0) < ON_STEP}
    return bool(may_be)


def to_typical(signal: Float32[np.ndarray, "*rest time"], axes: tuple[int, ...]) -> Float32[np.ndarray, "*rest time"]:
    """Scale a signal to the typical root mean square over these axes. What is 0 stays 0."""
    return scale_to_rms(signal.astype(np.float64), TYPICAL_MV, axes).astype(np.float32)
