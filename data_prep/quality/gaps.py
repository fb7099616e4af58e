"""Missing samples: a limb lead's are computed from two others, short gaps are interpolated, long ones are refused.

None of 3,835 records of PTB-XL has a missing sample.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float32

from data_prep.leads import LIMB_LEADS, derive_limb_leads, name_leads
from data_prep.quality.finding import Finding, Severity
from data_prep.quality.limb_identities import MISMATCH

LONGEST_GAP = 0.05
"""Longest gap in seconds that is interpolated: half of a QRS complex."""
MOST_MISSING = 0.05
"""Largest fraction of a lead's samples that is interpolated."""
HUGE = 1e12
"""Millivolts from which on float32 may overflow where values are squared and summed."""


def fill_gaps(
    leads: Sequence[str],
    signal: Float32[np.ndarray, "lead time"],
    fs: float,
    findings: list[Finding],
    related: bool = True,
) -> Float32[np.ndarray, "lead time"]:
    """Return the signal without its short gaps, and add to `findings` how many samples were filled.

    NaN is a missing sample. A lead without a single number becomes 0, like a dead lead. Longer gaps stay. Nothing is
    filled in a signal with infinite values, which are damage. Limb leads are computed only where they are `related`.
    """
    missing = np.isnan(signal)
    if not missing.any() or missing.all() or np.isinf(signal).any():
        return signal
    whole = missing.all(axis=1)
    filled = signal.copy()
    if related:
        _compute_limb_leads(leads, signal, filled, missing & ~whole[:, None])
    findings += _filled(leads, missing & ~np.isnan(filled), "computed from the other limb leads")
    gaps = np.isnan(filled)
    for row, gap in zip(filled, gaps, strict=True):
        if gap.any() and gap.mean() <= MOST_MISSING and longest_run(gap) <= LONGEST_GAP * fs:
            row[gap] = np.interp(np.flatnonzero(gap), np.flatnonzero(~gap), row[~gap])
    findings += _filled(leads, gaps & ~np.isnan(filled), "interpolated")
    filled[whole] = 0.0
    return filled


def _compute_limb_leads(
    leads: Sequence[str],
    signal: Float32[np.ndarray, "lead time"],
    filled: Float32[np.ndarray, "lead time"],
    missing: Bool[np.ndarray, "lead time"],
) -> None:
    """Fill missing samples of a limb lead from two others, where all three agree elsewhere except for an offset."""
    limbs = {lead: index for index, lead in enumerate(leads) if lead in LIMB_LEADS}
    for lead, index in limbs.items():
        others = [other for other in limbs if other != lead and missing[index].any()]
        for pair in combinations(others, 2):
            rows = {other: signal[limbs[other]] for other in pair}
            derive_limb_leads(rows)
            error = signal[index] - rows[lead]
            known = ~np.isnan(error)
            if known.any() and error[known].std() < MISMATCH:
                gap = np.isnan(filled[index])
                filled[index, gap] = rows[lead][gap] + error[known].mean()


def longest_run(gap: Bool[np.ndarray, " time"]) -> int:
    """Return the largest number of consecutive missing samples."""
    ends = np.flatnonzero(np.diff(gap, prepend=False, append=False))
    return int((ends[1::2] - ends[::2]).max(initial=0))


def _filled(leads: Sequence[str], filled: Bool[np.ndarray, "lead time"], how: str) -> Iterator[Finding]:
    if total := int(filled.sum()):
        named = tuple(lead for lead, row in zip(leads, filled, strict=True) if row.any())
        sentence = f"{total} missing sample{'s were' if total > 1 else ' was'} {how} ({name_leads(named)})."
        yield Finding("gap-filled", sentence, leads=named, value=total)


def check_gaps(leads: Sequence[str], signal: Float32[np.ndarray, "lead time"]) -> Iterator[Finding]:
    """Yield a failure if there are values that are not numbers, or too large to compute with."""
    largest = np.maximum(signal.max(initial=0), -signal.min(initial=0))
    if largest < HUGE:
        return
    if np.isfinite(signal).all():
        sentence = f"it reaches {largest:.1g} mV; is the file damaged, or its unit wrong?"
        yield Finding("unit", sentence, Severity.FAILURE, value=float(largest))
        return
    counts = (~np.isfinite(signal)).sum(axis=1)
    worst = int(counts.argmax())
    others = int((counts > 0).sum()) - 1
    more = f", nor are some of {others} other leads" if others else ""
    sentence = f"{counts[worst]} of {signal.shape[1]} samples of lead {leads[worst]} are not numbers{more}."
    named = tuple(lead for lead, count in zip(leads, counts, strict=True) if count)
    yield Finding("not-a-number", sentence, Severity.FAILURE, named, int(counts.sum()))
