"""A time without heart beats, as when the heart stands still, or the recorder goes on without a patient.

A beat is where the leads are steep. The value is the longest time in which the median over the leads of their steps
stays below a quarter of each lead's largest step. A file whose waves are stretched, because it states a fraction of its
sampling rate, has such times as well.

==========================================  ===============
no beats for 3 s                            records
==========================================  ===============
PTB-XL as recorded                          0 of 3,835
the last 7 s are noise, white, 0.003 mV     479 of 479
the same, white, 0.05 mV                    99 %
the same, 1/f, 0.05 mV                      99 %
the same, 1/f, 0.1 mV                       90 %
500 Hz read as 100 Hz                       85 % of 267
==========================================  ===============

The longest time is 2.6 s, in record 722, which has atrial fibrillation with a slow response, and 1.9 s in all others.
With 7 s of noise below 0.01 mV, the bundled model decided 59 of 60 records, most of them as if the heart were beating.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity
from data_prep.quality.steps import lag_of, largest_of_blocks

LONGEST = 3.0
"""Seconds from which on a pause is reported. Cardiology calls a pause of 3 s significant."""
STEEP = 0.25
"""Step of a lead during a beat, relative to the largest step."""
BLOCK = 0.1
"""Seconds whose largest step is taken, of each lead."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding that rules out a decision if there are no beats for LONGEST seconds."""
    if not subject.measured:
        return
    part = subject.unpadded
    seconds = longest_pause(subject.steps[:, part.start : max(part.stop - lag_of(subject.fs), 0)], subject.fs)
    if seconds >= LONGEST:
        sentence = (
            f"no heart beats for {seconds:.2g} s; did the heart pause, did electrodes come off, or is the file's "
            "sampling rate wrong?"
        )
        yield Finding("no-beats", sentence, Severity.NO_DECISION, value=seconds)


def longest_pause(moved: Float32[np.ndarray, "lead step"], fs: float) -> float:
    """Return the longest time in seconds in which the median lead has no steep step."""
    size = max(round(BLOCK * fs), 1)
    blocks = largest_of_blocks(moved, size)
    if not blocks.size:
        return 0.0
    steep = 2 * np.count_nonzero(blocks >= STEEP * blocks.max(axis=1, keepdims=True), axis=0) >= len(blocks)
    beats = np.flatnonzero(np.concatenate([[True], steep, [True]]))
    return float((np.diff(beats).max() - 1) * size / fs)
