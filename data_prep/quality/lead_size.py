"""A chest lead of a wrong size, as when the gain or the unit of one column is wrong.

The size of a lead is the median over time of its largest step, so that a few artifacts do not count. The lead with the
largest size is compared with the larger of the chest leads beside it, and each of V2 to V6 with the smaller. V1 is
often much smaller than V2. Limb leads of a wrong size contradict each other.

==================  ================================  =================
more than 4 times   with this check alone             or with one lead
larger, of PTB-XL                                     above 20 mV
==================  ================================  =================
as recorded         1 of 3,835; 0 of 267 at 500 Hz
V1, V2, … V6 × 10   77, 45, 45, 43, 59, 79 %          91 to 99 %
V1, V2, … V6 × 5    34, 63, 53, 69, 68, 44 %          35 to 74 %
==================  ================================  =================

The record is 6632 (6.7 times; the others reach 3.6). A lead above 20 mV is reported by `electrode_off.py` instead. With
V6 ten times as large, the other checks let 51 of 60 records through, and in 42 of these a decision of the bundled model
changed.

===========================  ================================  =================================
less than 0.19 of each       with this check, of PTB-XL        a neighbor more than 4 times
neighbor                                                       larger, named instead
===========================  ================================  =================================
as recorded                  0 of 3,835; 0 of 267 at 500 Hz
V2, V3, … V6 ÷ 10            64, 90, 90, 86, 99 %              6, 1, 0, 9, 0 %
V2, V3, … V6 ÷ 5             9, 21, 11, 3, 83 %                5, 1, 0, 8, 0 %
===========================  ================================  =================================

The lowest ratio is 0.20, except for V1 (0.06), which is not judged: V1 ÷ 10 is not detected.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float32, Float64

from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity
from data_prep.quality.steps import largest_of_blocks

LARGEST = 4.0
"""Ratio of a lead's size to that of its neighbors above which its size is wrong."""
SMALLEST = 0.19
"""Ratio of a lead's size to that of each neighbor below which its size is wrong."""
NOISE = 1e-3
"""Millivolts that count at least as a lead's size, so that none is divided by zero."""
BLOCK = 1.5
"""Seconds in which almost every heart beats."""
CHEST = ("V1", "V2", "V3", "V4", "V5", "V6")


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding that rules out a decision if a chest lead is much larger or smaller than those beside it."""
    if not subject.related or not subject.steps.size:
        return
    sizes = dict(zip(subject.measured, measure(subject.steps, subject.fs).tolist(), strict=True))
    if finding := find_large(sizes) or find_small(sizes):
        yield finding


def find_large(sizes: Mapping[str, float]) -> Finding | None:
    """Return a finding if the largest lead is a chest lead and dwarfs its neighbors."""
    largest = max(sizes, key=sizes.__getitem__)
    beside = neighbors(largest)
    if not beside or not set(beside) <= set(sizes):  # the second neighbor is often much smaller than the first
        return None
    ratio = sizes[largest] / max(map(sizes.__getitem__, beside))
    if ratio <= LARGEST:
        return None
    sentence = f"lead {largest} is {ratio:.2g} times as large as the leads beside it; is its gain or unit wrong?"
    return Finding("lead-size", sentence, Severity.NO_DECISION, (largest,), ratio)


def find_small(sizes: Mapping[str, float]) -> Finding | None:
    """Return a finding if one of V2 to V6 is dwarfed by each neighbor."""
    ratios = {
        lead: sizes[lead] / min(map(sizes.__getitem__, neighbors(lead)))
        for lead in CHEST[1:]
        if {lead, *neighbors(lead)} <= set(sizes)
    }
    smallest = min(ratios, key=ratios.__getitem__, default=None)
    if smallest is None or ratios[smallest] >= SMALLEST:
        return None
    sentence = (
        f"lead {smallest} is {ratios[smallest]:.2g} times as large as the smallest lead beside it; is its gain or unit "
        "wrong?"
    )
    return Finding("lead-size", sentence, Severity.NO_DECISION, (smallest,), ratios[smallest])


def measure(moved: Float32[np.ndarray, "lead step"], fs: float) -> Float64[np.ndarray, " lead"]:
    """Return the median over blocks of each lead's largest step, in mV, and at least the size of noise."""
    blocks = np.sort(largest_of_blocks(moved, min(max(round(BLOCK * fs), 1), moved.shape[1])), axis=1)
    n_blocks = blocks.shape[1]  # np.median is slower than all else here
    middle = blocks[:, [(n_blocks - 1) // 2, n_blocks // 2]].astype(np.float64)
    return np.maximum(middle.mean(axis=1), NOISE)


def neighbors(lead: str) -> tuple[str, ...]:
    """Return the chest leads beside a chest lead; none beside a limb lead."""
    if lead not in CHEST:
        return ()
    index = CHEST.index(lead)
    return CHEST[max(index - 1, 0) : index] + CHEST[index + 1 : index + 2]
