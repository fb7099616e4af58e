"""Saturation: a lead that stays at its largest or smallest value, as when an amplifier or a converter saturates.

3 of 3,356 records of PTB-XL's folds 1 to 8 have such a lead, and none of 479 in fold 9. Copies of the latter whose
largest lead is cut off at half of its largest value are found in 98 %, at 0.7 of it in 75 %, at 0.9 of it in 10 %.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32, Float64

from data_prep.leads import leads_are
from data_prep.quality.check_input import CheckInput, Extremes
from data_prep.quality.finding import Finding

AT_RAIL = 0.05
"""Seconds at the extreme value, in runs of two samples or more, from which on a lead is saturated."""
FAR = 0.5
"""Distance of the extreme value from the lead's median, in mV. A lead whose waves all point to one side stays at a
value near its baseline, because values are rounded."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a note on leads that stay at their extreme value."""
    seconds = seconds_at_rail(subject.recorded, subject.recorded_fs, subject.recorded_extremes)
    leads = tuple(lead for lead, time in zip(subject.recorded_leads, seconds, strict=True) if time >= AT_RAIL)
    if leads:
        longest = float(seconds.max())
        sentence = f"{leads_are(leads)} saturated: the signal stays at its extreme value for {longest:.2g} s."
        yield Finding("saturated", sentence, leads=leads, value=longest)


def seconds_at_rail(
    signal: Float32[np.ndarray, "lead time"], fs: float, extremes: Extremes
) -> Float64[np.ndarray, " lead"]:
    """Return how long each lead is at its largest or smallest value. Single samples do not count."""
    seconds = np.zeros(len(signal))
    for extreme in extremes:
        at = signal == extreme[:, None]
        often = np.flatnonzero(np.count_nonzero(at, axis=1) >= AT_RAIL * fs)
        for lead, n_samples in zip(often, in_runs(at[often]), strict=True):
            if n_samples >= AT_RAIL * fs and abs(extreme[lead] - np.median(signal[lead])) > FAR:
                seconds[lead] = max(seconds[lead], n_samples / fs)
    return seconds


def in_runs(at: Bool[np.ndarray, "lead time"]) -> Float64[np.ndarray, " lead"]:
    """Return the number of marked samples of each lead that have a marked neighbor."""
    pairs = at[:, 1:] & at[:, :-1]
    n_runs = pairs[:, 0].astype(int) + (pairs[:, 1:] & ~pairs[:, :-1]).sum(axis=1)
    return (pairs.sum(axis=1) + n_runs).astype(np.float64)
