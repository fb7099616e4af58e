"""Leads of ordinary size that carry noise and no ECG: the other leads explain nothing of them.

Replacing leads by noise changes the decisions of the recipe's model as follows. The 120 records are of PTB-XL's fold 9.
False MI counts the decisions for MI among those 60 of them that the model decided to be NORM without noise.

==============================  =================  ========
noise                           decisions changed  false MI
==============================  =================  ========
V3, white, 0.1 mV               4.5 %              1
V3, white, 0.3 mV               5.8 %              4
V3, 1/f², 1 mV                  11.7 %             10
V2 and V5, 1/f, 0.3 mV          10.0 %             5
V1 to V3, 1/f, 0.3 mV           32.8 %             39
V1 to V6, 1/f, 0.3 mV           50.0 %             60
==============================  =================  ========

So one such lead forbids a decision. An R² below UNRELATED detects all of 400 leads of white or 1/f noise and 90 % of
those of 1/f² noise. It flags a lead in 7 of 3,835 records of PTB-XL.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from data_prep.leads import BASIS_LEADS, leads_are
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity

UNRELATED = 0.1
"""R² of a regression on the other independent leads below which a lead is noise."""
FEWEST = 6
"""Number of independent leads that must have been measured for a judgment."""
RIDGE = 1e-6
"""Ridge added to the correlation matrix, so that leads that depend on each other exactly can be compared."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding that rules out a decision if leads are noise."""
    if noise := find_noise(subject.leads, subject.filtered, subject.unmeasured):
        sentence = f"{leads_are(noise)} only noise, of which the other leads explain nothing."
        yield Finding("noise-lead", sentence, Severity.NO_DECISION, noise, len(noise))


def find_noise(
    leads: Sequence[str], filtered: Float32[np.ndarray, "lead time"], excluded: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the independent leads with R² = 1 − 1 / (C_ii C⁻¹_ii) below UNRELATED, for correlations C of the leads.

    `excluded` leads were not measured. They are neither tested nor used to explain others.
    """
    tested = [lead for lead in leads if lead in BASIS_LEADS and lead not in excluded]
    signal = filtered[[leads.index(lead) for lead in tested]].astype(np.float64)
    signal -= signal.mean(axis=1, keepdims=True)
    products = signal @ signal.T
    sizes = np.sqrt(np.diag(products))
    if len(tested) < FEWEST or not sizes.all():
        return ()
    correlations = products / np.outer(sizes, sizes) + RIDGE * np.eye(len(tested))
    explained = 1 - 1 / (np.diag(correlations) * np.diag(np.linalg.inv(correlations)))
    return tuple(lead for lead, share in zip(tested, explained, strict=True) if share < UNRELATED)
