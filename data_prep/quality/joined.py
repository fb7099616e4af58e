"""Parts of two recordings that were joined, as where segments of several files were written one after another.

Each second has the covariances between the steps of the eight independent leads. Where recordings were joined, every
second before differs from every second after: in how the leads relate, and in their sizes. The value is one minus the
largest correlation between covariances of the two sides, times the sum over the leads of the gap between the natural
logarithms of their sizes on the two sides, at the second where it is largest. The lead with the largest gap is left
out, since its electrode may have been loose.

============================================  ==============================
above 0.01, of PTB-XL                         records
============================================  ==============================
as recorded                                   1 of 3,835; 0 of 267 at 500 Hz
continued by another record from 3 s on       88 %
the same, from 3.6 or 6.4 s on                83 %
the same, from 5 s on                         87 %
the same, from 2 or 8 s on                    2 %, 0 %
continued by one of the same patient at 5 s   28 % of 139
============================================  ==============================

The record is 6860 (0.10); the others reach 0.0092.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity

BOUND = 0.01
"""Value above which recordings were joined."""
FEWEST = 3
"""Seconds on each side that show what its recording is like."""
MOST = 30
"""Seconds of the longest record that is judged. In a longer one, a heart is more likely to change."""
LAG = 0.01
"""Seconds between the samples whose difference is a step."""
NOISE = 1e-3
"""Size of steps in mV that is added to that of a lead, so that noise does not count."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding that rules out a decision if two recordings were joined."""
    if subject.independent is None:
        return
    seconds = covariances(subject.independent[:, subject.unpadded], subject.fs)
    if not 2 * FEWEST <= len(seconds) <= MOST:
        return
    values = contrasts(seconds)
    if values.max() > BOUND:
        start = FEWEST + int(values.argmax())
        sentence = (
            f"the beats differ in their leads from about {start} s on; were parts of two recordings joined, or did the "
            "heart's conduction change?"
        )
        yield Finding("joined", sentence, Severity.NO_DECISION, value=float(values.max()))


def covariances(leads: Float64[np.ndarray, "8 time"], fs: float) -> Float64[np.ndarray, "second 8 8"]:
    """Return the mean products of the leads' steps in each second."""
    lag, size = max(round(LAG * fs), 1), round(fs)
    steps = leads[:, lag:] - leads[:, :-lag]
    n_seconds = (steps.shape[1] + lag) // size
    steps = np.pad(steps, ((0, 0), (lag, 0)))[:, : n_seconds * size].reshape(len(leads), n_seconds, size)
    steps = steps.transpose(1, 0, 2)
    return steps @ steps.transpose(0, 2, 1) / size


def contrasts(seconds: Float64[np.ndarray, "second 8 8"]) -> Float64[np.ndarray, " split"]:
    """Return how much the seconds before and after differ, for each split that leaves FEWEST on both sides."""
    sizes = np.log(np.diagonal(seconds, axis1=1, axis2=2) + NOISE**2) / 2
    splits = np.arange(FEWEST, len(seconds) - FEWEST + 1)
    lowest, highest = np.minimum.accumulate(sizes)[splits - 1], np.maximum.accumulate(sizes)[splits - 1]
    lowest_after = np.minimum.accumulate(sizes[::-1])[::-1][splits]
    highest_after = np.maximum.accumulate(sizes[::-1])[::-1][splits]
    of_leads = np.maximum(np.maximum(lowest - highest_after, lowest_after - highest), 0)
    gaps = of_leads.sum(axis=1) - of_leads.max(axis=1)
    if not gaps.any():
        return gaps
    flat = seconds.reshape(len(seconds), -1)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), NOISE**4)
    likeness = flat @ flat.T
    return gaps * [1 - likeness[:split, split:].max() for split in splits]
