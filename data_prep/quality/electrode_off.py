"""A lead that spans more than any ECG does, as when its electrode has come off."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity

WIDE = 20.0
"""Millivolts that no lead of an ECG spans. A few leads may, when an electrode has come off: one record in 3,835 of
PTB-XL has such a lead, of 34 mV. A V3 at 60 mV for 0.2 s changes 8.8 % of the recipe's decisions in fold 9, for 5 s
18 %, so no decision is made."""
LARGEST = 32.767
"""Millivolts; what a prepared file's 16-bit microvolts can hold."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield no decision if a lead spans more than WIDE."""
    spans = subject.spans
    if spans.max() > WIDE:
        lead = subject.leads[int(spans.argmax())]
        sentence = f"lead {lead} spans {spans.max():.3g} mV; an electrode was probably off."
        yield Finding("electrode-off", sentence, Severity.NO_DECISION, (lead,), float(spans.max()))


def clip(signal: Float32[np.ndarray, "lead time"], findings: list[Finding]) -> Float32[np.ndarray, "lead time"]:
    """Return the signal within what a prepared file can hold, and add a finding if values were cut off."""
    largest = float(max(signal.max(), -signal.min()))
    if largest <= LARGEST:
        return signal
    findings.append(Finding("clipped", f"values up to {largest:.3g} mV are cut off at {LARGEST} mV.", value=largest))
    return np.clip(signal, -LARGEST, LARGEST)
