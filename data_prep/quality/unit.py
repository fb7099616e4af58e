"""Size of the leads: whether they can be an ECG in millivolts, or show a wrong unit or gain.

The bounds stand beside their reasons below. None of 3,835 records of PTB-XL is beyond one of them.
"""

from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np
from jaxtyping import Float32

from data_prep.quality.check_input import CheckInput
from data_prep.quality.electrode_off import WIDE
from data_prep.quality.finding import Finding, Severity
from data_prep.units import NO_UNIT, UNITS

WIDEST = 100.0
"""Millivolts that no electrode makes a lead span. Most recorders saturate at 65."""
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
"""Smallest number of leads of which half can show that a unit is wrong. Fewer may be small or large by chance."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a failure if no ECG in mV is of this size. Half of the leads being too large rules out only a decision."""
    leads, spans = subject.leads, subject.spans
    measured = [index for index, lead in enumerate(leads) if lead not in subject.reconstructed]
    if measured and (reason := odd_size([leads[index] for index in measured], spans[measured], subject.unit)):
        code = "no-signal" if not spans[measured].any() else "unit"
        yield Finding(code, reason, Severity.FAILURE, value=float(spans[measured].max()))
    elif spans.max() <= WIDE and (middle := median(subject.deviations.tolist())) > LOUD:
        sentence = (
            f"half of the leads deviate by more than {LOUD:g} mV, which no heart produces; is the unit right? "
            f"Pass --unit {NO_UNIT} if the voltage was lost."
        )
        yield Finding("unit", sentence, Severity.NO_DECISION, value=middle)


def odd_size(leads: Sequence[str], spans: Float32[np.ndarray, " lead"], unit: str | None = None) -> str | None:
    """Return why no ECG in millivolts is of this size, and the unit in which the values would be one; or None."""
    size = _impossible_size(leads, spans)
    if size is None or spans.max() == 0:
        return size
    for other in ("V", "mV", "uV", "nV"):
        if unit is None or unit in (NO_UNIT, other):
            continue
        if SMALL < _middle(spans) * UNITS[other] / UNITS[unit] < LARGE:
            return f"{size}; the values are probably in {other}. Pass --unit {other} if so."
    return f"{size}; the gain or the unit in the file is wrong."


def _middle(spans: Float32[np.ndarray, " lead"]) -> float:
    return float(np.sort(spans)[(len(spans) - 1) // 2])


def _impossible_size(leads: Sequence[str], spans: Float32[np.ndarray, " lead"]) -> str | None:
    """Return why no ECG in millivolts is of this size, or None."""
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
