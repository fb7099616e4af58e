"""Baseline wander, as caused by breathing, movement and drying electrodes.

The value is the span of a lead's medians over each second. It is above the bound in 124 of 3,356 records of PTB-XL's
folds 1 to 8 and in 19 of 479 of fold 9. PTB-XL notes a drift in 8 % of its records; whether
in these was not compared.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from data_prep.leads import name_leads
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding

LARGEST_WANDER = 2.0
"""Millivolts above which a baseline wanders."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a note on leads whose baseline wanders."""
    if not subject.calibrated:
        return
    wide = np.flatnonzero(subject.recorded_extremes.spans > LARGEST_WANDER)  # medians span no more than the lead
    if not len(wide):
        return
    spans = measure(subject.recorded[wide], subject.recorded_fs)
    leads = tuple(
        subject.recorded_leads[index] for index, span in zip(wide, spans, strict=True) if span > LARGEST_WANDER
    )
    if leads:
        sentence = f"the baseline of {name_leads(leads)} wanders by up to {spans.max():.2g} mV."
        yield Finding("baseline-wander", sentence, leads=leads, value=float(spans.max()))


def measure(signal: Float32[np.ndarray, "lead time"], fs: float) -> Float32[np.ndarray, " lead"]:
    """Return the span of the medians over each second, in mV. A hundred samples a second are enough."""
    step = max(round(fs / 100), 1)
    thinned = signal[:, ::step]
    size = max(round(fs / step), 1)
    n_seconds = max(thinned.shape[1] // size, 1)
    seconds = thinned[:, : n_seconds * size].reshape(len(signal), n_seconds, -1)
    return np.ptp(np.median(seconds, axis=2), axis=1)
