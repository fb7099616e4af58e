"""Groups of leads that belong to other beats than the rest: another patient's, or recorded at another time.

A single such lead is one of `noise_leads.py`. Within a group, however, leads explain each other. Here those of a group
are explained by the leads outside it. The value is the mean R² over the group; in PTB-XL it is as follows.

========  ============  ==============  ===================  =================
group     lowest bound  below, of 3,835  from another record  shifted by 1 s
========  ============  ==============  ===================  =================
V1 to V3  0.3           2               100 %                97.1 %
V4 to V6  0.3           2               100 %                97.5 %
V1 to V6  0.2           0               100 %                97.4 %
========  ============  ==============  ===================  =================

V1 to V3 of another patient change a decision of an earlier bundled model in 61 % of 279 records.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float64

from data_prep.leads import BASIS_LEADS
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity
from data_prep.quality.noise_leads import RIDGE

BOUNDS = {("V1", "V2", "V3"): 0.3, ("V4", "V5", "V6"): 0.3, ("V1", "V2", "V3", "V4", "V5", "V6"): 0.2}
"""Mean R² of a group of leads below which it belongs to other beats than the leads outside it."""

Index = tuple[Any, ...]
"""Index of rows and columns, as np.ix_ returns it."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding on the group of leads that the others explain least, if it is below its bound.

    It rules out a decision.
    """
    if subject.independent is None:
        return
    signal = subject.independent - subject.independent.mean(axis=1, keepdims=True)
    sizes = np.linalg.norm(signal, axis=1)
    if not sizes.all():
        return
    correlations = signal @ signal.T / np.outer(sizes, sizes)
    explained = {group: explain(correlations, group) for group in BOUNDS}
    group = min(explained, key=lambda group: explained[group] - BOUNDS[group])
    if explained[group] < BOUNDS[group]:
        sentence = (
            f"leads {group[0]} to {group[-1]} do not show the beats of the other leads; were they recorded at another "
            "time, or from another patient?"
        )
        yield Finding("leads-unrelated", sentence, Severity.NO_DECISION, group, explained[group])


def explain(correlations: Float64[np.ndarray, "8 8"], group: tuple[str, ...]) -> float:
    """Return the mean R² of a regression of each lead of the group on the leads outside it."""
    outside, between, ridge = parts(group)
    shared = correlations[between]
    return float((shared * np.linalg.solve(correlations[outside] + ridge, shared)).sum() / len(group))


@cache
def parts(group: tuple[str, ...]) -> tuple[Index, Index, Float64[np.ndarray, "lead lead"]]:
    """Return where the correlations outside the group are, and those with it, and what is added to the former."""
    inside = np.array([lead in group for lead in BASIS_LEADS])
    return np.ix_(~inside, ~inside), np.ix_(~inside, inside), RIDGE * np.eye(len(BASIS_LEADS) - len(group))
