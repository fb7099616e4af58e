"""A lead that spans more than any ECG does, as when its electrode has come off."""

from collections.abc import Iterator

from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity

WIDE = 20.0
"""Millivolts that no lead of an ECG spans. A few leads may, when an electrode has come off: one record in 3,835 of
PTB-XL has such a lead, of 34 mV. A V3 at 60 mV for 0.2 s changes 8.8 % of the recipe's decisions in fold 9, for 5 s
18 %, so no decision is made."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding that rules out a decision if a lead spans more than WIDE."""
    spans = subject.spans
    if spans.max() > WIDE:
        lead = subject.leads[int(spans.argmax())]
        sentence = f"lead {lead} spans {spans.max():.3g} mV; an electrode was probably off."
        yield Finding("electrode-off", sentence, Severity.NO_DECISION, (lead,), float(spans.max()))
