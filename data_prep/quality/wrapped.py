"""Values that wrapped around: beyond the largest value of a converter or a 16-bit number they go on from its smallest.

Steps between neighboring samples are then nearly as large as the lead's range, and become small when the range is
subtracted. The ratio is that of the energies of the lead's second differences: with the range subtracted from all steps
larger than half of it, and without. The table shows the records with such a lead; the faulty ones are those of every
16th record of PTB-XL that the fault changes by 0.1 mV or more.

===============================  =======================  ==================  ==========
all leads wrapped around         with this check          without             with both
===============================  =======================  ==================  ==========
as recorded                      0 of 3,835; 0 of 267
                                 at 500 Hz
at ±0.25 mV                      94 %                     71 %                99 %
at ±0.5 mV                       95 %                     87 %                100 %
at ±1 mV                         92 %                     65 %                96 %
at ±2 mV                         70 %                     11 %                73 %
at 0.6 times the largest value   90 %                     44 %                92 %
at 0.8 times the largest value   84 %                     19 %                85 %
===============================  =======================  ==================  ==========

The lowest ratio of a recorded lead is 0.23. At 500 Hz, the check alone detects 98 % at ±1 mV and 74 % at ±2 mV.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from data_prep.leads import name_leads
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity

BOUND = 0.22
"""Ratio of energies below which a lead wrapped around."""
LARGEST = 0.7
"""Largest step of a lead that may have wrapped around, relative to the lead's range. Few other leads have one."""
FEWEST = 3
"""Number of large steps in a lead that wrapped around. Fewer may be an artifact."""
SHORTEST = 0.01
"""Seconds between two large steps. Those of a pacemaker's spike are closer."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding that rules out a decision if values of a lead wrapped around."""
    steps = np.diff(subject.recorded, axis=1)
    spans = subject.recorded_extremes.spans
    largest = np.maximum(steps.max(axis=1), -steps.min(axis=1))
    wrapped = [
        index
        for index in np.flatnonzero(largest > LARGEST * spans)
        if has_wrapped(steps[index], float(spans[index]), subject.recorded_fs)
    ]
    if wrapped:
        leads = tuple(subject.recorded_leads[index] for index in wrapped)
        sentence = (
            f"the values of {name_leads(leads)} wrapped around, from one end of their range to the other; did a "
            "converter or a 16-bit number overflow?"
        )
        yield Finding("wrapped", sentence, Severity.NO_DECISION, leads, float(spans[wrapped].max()))


def has_wrapped(steps: Float32[np.ndarray, " step"], span: float, fs: float) -> bool:
    """Return whether a lead with these steps and this range becomes smooth when its large steps are unwrapped."""
    large = np.abs(steps) > span / 2
    indices = np.flatnonzero(large)
    if len(indices) < FEWEST or 2 * np.count_nonzero(np.diff(indices) < SHORTEST * fs) >= len(indices):
        return False
    before, after = np.diff(steps), np.diff(np.where(large, steps - np.copysign(span, steps), steps))
    return bool(after @ after < BOUND * (before @ before))
