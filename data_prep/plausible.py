"""Whether leads can be an ECG in millivolts, or show a wrong unit, gaps, flat or mixed-up leads."""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float32

from data_prep.leads import STANDARD_LEADS, identity_errors
from data_prep.record import NO_UNIT, RecordError
from data_prep.units import UNITS

WIDE = 20.0
"""Millivolts that no lead of an ECG spans. A few leads may, when an electrode has come off: one record in 3,835 of
PTB-XL has such a lead, of 34 mV. A V3 at 60 mV for 0.2 s changes 8.8 % of the recipe's decisions in fold 9, for 5 s
18 %, so no decision is made."""
WIDEST = 100.0
"""Millivolts that no electrode makes a lead span. Most recorders end at 65."""
NARROW = 0.1
"""Millivolts that at least one lead of an ECG spans: every lead of 3,835 records of PTB-XL spans 0.15 or more."""
SMALL = 0.3
"""Millivolts that half of the leads of an ECG span: 0.36 or more in each of 3,835 records of PTB-XL, before and after a
filter. Of copies that are ten times too small 99.5 % are below, of copies five times too small 81 %."""
LARGE = 6.0
"""Millivolts that half of the leads of an ECG do not span: 5.4 at most in 3,835 records of PTB-XL. A unit is suggested
only where it brings the values to between SMALL and this."""
LOUD = 0.8
"""Standard deviation in mV above which half of the leads are too large: it is 0.67 at most in 3,835 records of PTB-XL.
Of copies that are ten times too large 97.6 % are above, or 99.1 % without a filter."""
HALF_OF = 6
"""Number of leads from which on half of them tell that a unit is wrong. Fewer may be small or large by themselves."""
LARGEST = 32.767
"""Millivolts; what a prepared file's 16-bit microvolts can hold."""
HUGE = 1e12
"""Millivolts from which on float32 may overflow where values are squared and summed."""
MISMATCH = 0.05
"""Standard deviation in mV of the error beyond which limb leads violate Einthoven's and Goldberger's identities. A
recorder's steps of 20 µV make an error of 0.01. Share of 3,835 records of PTB-XL that violate them, and of their copies
with a fault, each prepared at 100 Hz:

============================================  ===============  =================
                                              without filter   0.5 to 40 Hz
============================================  ===============  =================
as published (largest error 0.0054 mV)        0 records        0 records
I and II exchanged                            99.9 %           99.7 %
aVL and aVF exchanged                         99.6 %           98.0 %
II and V5 exchanged                           98.3 %           90.0 %
aVL negated                                   99.9 %           99.2 %
aVL twice as large                            91.9 %           82.1 %
aVR, aVL and aVF recorded 2.5 s later         100 %            100 %
============================================  ===============  =================
"""


def refuse_gaps(name: str, leads: Sequence[str], signal: Float32[np.ndarray, "lead time"]) -> None:
    """Raise RecordError if there are values that are not numbers, or too large to compute with."""
    largest = np.abs(signal).max()
    if largest < HUGE:
        return
    if np.isfinite(signal).all():
        raise RecordError(f"{name}: it reaches {largest:.1g} mV; is the file damaged, or its unit wrong?")
    counts = (~np.isfinite(signal)).sum(axis=1)
    worst = int(counts.argmax())
    others = int((counts > 0).sum()) - 1
    more = f", nor are some of {others} other leads" if others else ""
    raise RecordError(
        f"{name}: {counts[worst]} of {signal.shape[1]} samples of lead {leads[worst]} are not numbers{more}."
    )


def require_size(
    name: str,
    signal: Float32[np.ndarray, "lead time"],
    leads: Sequence[str] = STANDARD_LEADS,
    unit: str | None = None,
    reconstructed: Collection[str] = (),
) -> None:
    """Raise RecordError if no ECG in millivolts is of this size.

    `unit` is the one in which the file's values were read. The size of `reconstructed` leads is not judged.
    """
    spans = signal.max(axis=1) - signal.min(axis=1)
    measured = [index for index, lead in enumerate(leads) if lead not in reconstructed]
    if measured and (reason := odd_size([leads[index] for index in measured], spans[measured], unit)):
        raise RecordError(f"{name}: {reason}")


def size_doubts(leads: Sequence[str], signal: Float32[np.ndarray, "lead time"]) -> list[str]:
    """Return the reasons in the size of the leads why no decision should be made on them."""
    spans = signal.max(axis=1) - signal.min(axis=1)
    if spans.max() > WIDE:
        lead = leads[int(spans.argmax())]
        return [f"lead {lead} spans {spans.max():.3g} mV; an electrode was probably off."]
    if np.median(signal.std(axis=1)) > LOUD:
        return [
            f"half of the leads deviate by more than {LOUD:g} mV, which no heart makes; is the unit right? "
            f"Pass --unit {NO_UNIT} if the voltage was lost."
        ]
    return []


def identity_doubts(leads: dict[str, Float32[np.ndarray, " time"]]) -> list[str]:
    """Return the reason why no decision should be made where the limb leads contradict each other."""
    sizes = {identity: float(error.std()) for identity, error in identity_errors(leads).items()}
    violated = [identity for identity, size in sizes.items() if size > MISMATCH]
    if not violated:
        return []
    largest = max(sizes.values())
    return [f"{', '.join(violated)} violated, by up to {largest:.2g} mV rms; are leads swapped or wrongly named?"]


def odd_size(leads: Sequence[str], spans: Float32[np.ndarray, " lead"], unit: str | None = None) -> str | None:
    """Return why no ECG in millivolts is of this size, and the unit in which the values would be one; or None."""
    size = _impossible_size(leads, spans)
    if size is None or spans.max() == 0:
        return size
    for other in ("V", "mV", "uV", "nV"):
        if unit is not None and unit != NO_UNIT and SMALL < _middle(spans) * UNITS[other] / UNITS[unit] < LARGE:
            return f"{size}; the values are probably in {other}. Pass --unit {other} if so."
    return f"{size}; the gain or the unit in the file is wrong."


def _middle(spans: Float32[np.ndarray, " lead"]) -> float:
    return float(np.sort(spans)[(len(spans) - 1) // 2])


def _impossible_size(leads: Sequence[str], spans: Float32[np.ndarray, " lead"]) -> str | None:
    widest = int(spans.argmax())
    middle = _middle(spans)
    if spans[widest] == 0:
        return "every lead is flat; there is no ECG in it."
    if spans[widest] > WIDEST or middle > WIDE:
        return f"lead {leads[widest]} spans {spans[widest]:.4g} mV"
    if spans[widest] < NARROW:
        return f"no lead spans more than {spans[widest]:.3g} mV"
    if len(spans) >= HALF_OF and middle < SMALL:
        return f"half of the leads span no more than {middle:.3g} mV, too little for an ECG"
    return None


def clip(signal: Float32[np.ndarray, "lead time"], warnings: list[str]) -> Float32[np.ndarray, "lead time"]:
    """Return the signal within what a prepared file can hold, and add a warning if values were cut off."""
    largest = float(max(signal.max(), -signal.min()))
    if largest <= LARGEST:
        return signal
    warnings.append(f"values up to {largest:.3g} mV are cut off at {LARGEST} mV.")
    return np.clip(signal, -LARGEST, LARGEST)
