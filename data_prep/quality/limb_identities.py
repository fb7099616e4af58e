"""Limb leads that contradict each other: they violate Einthoven's and Goldberger's identities."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from data_prep.leads import identity_errors
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity

MISMATCH = 0.05
"""Standard deviation in mV of the error beyond which limb leads violate Einthoven's and Goldberger's identities. A
recorder's steps of 20 µV make an error of 0.01. The table shows the fraction of 3,835 records of PTB-XL that violate
them, and of copies with a fault, each prepared at 100 Hz:

============================================  ===============  =================
                                              without filter   0.5 to 40 Hz
============================================  ===============  =================
as published (largest error 0.0054 mV)        0 records        0 records
I and II swapped                              99.9 %           99.7 %
aVL and aVF swapped                           99.6 %           98.0 %
II and V5 swapped                             98.3 %           90.0 %
aVL negated                                   99.9 %           99.2 %
aVL twice as large                            91.9 %           82.1 %
aVR, aVL and aVF recorded 2.5 s later         100 %            100 %
============================================  ===============  =================
"""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding that rules out a decision if limb leads of one voltage scale contradict each other."""
    if subject.related:
        yield from check_identities(dict(zip(subject.leads, subject.signal, strict=True)))


def check_identities(leads: dict[str, Float32[np.ndarray, " time"]]) -> Iterator[Finding]:
    """Yield a finding that rules out a decision if the limb leads among `leads` contradict each other."""
    errors = identity_errors(leads)
    if not errors:
        return
    sizes = np.std(list(errors.values()), axis=1)
    violated = [identity for identity, size in zip(errors, sizes, strict=True) if size > MISMATCH]
    if not violated:
        return
    largest = float(sizes.max())
    sentence = f"{', '.join(violated)} violated, by up to {largest:.2g} mV rms; are leads swapped or wrongly named?"
    named = tuple(identity.partition(" ")[0] for identity in violated)
    yield Finding("limb-leads-contradict", sentence, Severity.NO_DECISION, named, largest)
