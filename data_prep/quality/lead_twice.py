"""Leads with the same signal, apart from its size, as when a lead was copied over another.

What a multiple of a lead leaves unexplained of another, relative to the other, is 0.012 or more in each of 3,835
records of PTB-XL. Where V1 to V6 are all multiples of V2, the other checks let 9 of 60 records through.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from data_prep.leads import name_leads
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity

SAME = 0.005
"""Standard deviation of what a multiple of one lead leaves of another, relative to the other, below which they are the
same."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding for each group of leads that have the same signal. It rules out a decision."""
    signal = subject.signal.astype(np.float64)
    signal -= signal.mean(axis=1, keepdims=True)
    products = signal @ signal.T
    sizes = np.sqrt(np.diag(products))
    both = np.outer(sizes, sizes)
    correlations = products / np.maximum(both, np.finfo(float).tiny)
    unexplained = np.sqrt(np.maximum(1 - correlations**2, 0))
    for group in groups_of(((unexplained <= SAME) & (both > 0)).tolist()):
        leads = tuple(subject.leads[index] for index in group)
        copied = "the other" if len(group) == 2 else "the others"
        sentence = f"{name_leads(leads)} have the same signal, apart from its size; was one copied over {copied}?"
        value = float(unexplained[np.ix_(group, group)].max())
        yield Finding("lead-twice", sentence, Severity.NO_DECISION, leads, value)


def groups_of(same: Sequence[Sequence[bool]]) -> list[list[int]]:
    """Return the groups of two or more leads of which each is the same as the first. `same` has a row for each lead."""
    groups: list[list[int]] = []
    grouped: set[int] = set()
    for first in range(len(same)):
        group = [
            first,
            *(other for other in range(first + 1, len(same)) if same[first][other] and other not in grouped),
        ]
        if first not in grouped and len(group) > 1:
            groups.append(group)
            grouped.update(group)
    return groups
