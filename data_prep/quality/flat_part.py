"""Parts of a lead that stay at one value, as where a recorder paused or samples are missing and were filled with zeros.

The noise of an electrode and of a converter changes even the flattest part of an ECG. One of 3,835 records of PTB-XL
has a lead that stays at one value for a second: V6 of 19299_lr, which is dead. No other lead does for more than 0.33 s,
and no record in all leads for more than 0.06 s. Replacing a part of 294 records of fold 9 by zeros changes a decision
of an earlier bundled model as follows.

==========  ======  ==========
flat        in V2   in all leads
==========  ======  ==========
1 s         3.1 %   7.5 %
2 s         4.1 %   9.5 %
4 s         6.8 %   14.2 %
==========  ======  ==========

A part that is flat in all leads between beats may be a heart that stood still or a recorder that did, so no decision is
made. At the beginning or the end it is padding, which is noted like that of a short record.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

from data_prep.leads import leads_are
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity
from data_prep.quality.length import SHORTEST

LONGEST = 1.0
"""Seconds at one value from which on a part of a lead is flat."""
LONGEST_OF_ALL = 0.5
"""The same for all leads at once."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield what is flat in all leads, and a note on the leads with other flat parts. Dead leads are left out."""
    living = [index for index, lead in enumerate(subject.recorded_leads) if lead not in subject.dead]
    fs, signal = subject.recorded_fs, subject.recorded[living]
    steady = np.diff(signal, axis=1) == 0
    if (all_flat := flat_parts(steady.all(axis=0)[None], LONGEST_OF_ALL * fs)[0]).any():
        finding = _all_leads(all_flat, fs)
        yield finding
        if finding.severity is Severity.NO_DECISION:
            return
        steady &= ~(all_flat[1:] | all_flat[:-1])
    flat = flat_parts(steady, LONGEST * fs).sum(axis=1)
    if flat.any():
        leads = tuple(subject.recorded_leads[living[index]] for index in np.flatnonzero(flat))
        sentence = f"{leads_are(leads)} flat for up to {flat.max() / fs:.2g} s; was the electrode loose?"
        yield Finding("flat-part", sentence, leads=leads, value=float(flat.max() / fs))


def _all_leads(flat: Bool[np.ndarray, " sample"], fs: float) -> Finding:
    """Return a note on padding that leaves enough of an ECG, or no decision."""
    seconds = float(flat.sum() / fs)
    alive = np.flatnonzero(~flat)
    inside = flat[alive[0] : alive[-1]].any() if len(alive) else True
    if inside or len(alive) < SHORTEST * fs:
        sentence = f"all leads stay at one value for {seconds:.2g} s; did the recorder stop, or are samples missing?"
        return Finding("flat-part", sentence, Severity.NO_DECISION, value=seconds)
    return Finding("flat-part", f"{seconds:.2g} s at the beginning or end of all leads are padding.", value=seconds)


def flat_parts(steady: Bool[np.ndarray, "lead step"], n_samples: float) -> Bool[np.ndarray, "lead sample"]:
    """Return which samples are in a part of `n_samples` or more without a change. A step is between two samples."""
    size = max(round(n_samples) - 1, 1)
    flat = np.zeros((len(steady), steady.shape[1] + 1), bool)
    if steady.sum(axis=1).max(initial=0) < size:
        return flat
    ended = np.pad(steady, ((0, 0), (1, 1)))  # each part of a lead begins and ends in its row
    edges = np.flatnonzero(ended[:, 1:] != ended[:, :-1]).reshape(-1, 2)
    for start, stop in edges[edges[:, 1] - edges[:, 0] >= size]:
        lead, step = divmod(start, flat.shape[1])
        flat[lead, step : step + stop - start + 1] = True
    return flat
