"""Swapped arm electrodes, which negate lead I and swap II with III and aVR with aVL.

The chest leads predict the limb leads: Kors and van Herpen (Am J Cardiol 2001, 88:396) detect swapped electrodes by how
well the leads agree with those reconstructed from the others. Here the eight independent leads are compared with their
covariance C over many ECGs, as recorded and with the swap undone. The value is log(tr(C⁻¹S) / tr(C⁻¹TST')) for the
leads' covariance S and the swap T. Above 0 the leads agree better with ECGs once the arms are swapped back.

====================================  ================  ============
records of PTB-XL                     folds 1 to 8      fold 9
====================================  ================  ============
as recorded: suspected                7 of 3,356        2 of 479
with swapped arms: suspected          99.8 %            99.6 %
====================================  ================  ============

A bound on the correlation of I with V6 that gives as many false alarms detects 89 %. Some of the false alarms may be
swaps that nobody noticed. Dextrocardia looks the same.
"""

from collections.abc import Iterator

import numpy as np

from data_prep.leads import BASIS_LEADS
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity
from data_prep.quality.flat_leads import COVARIANCE

BOUND = 0.0
"""Value above which a swap is suspected: from there on it is the likelier explanation."""
SWAP = np.eye(len(BASIS_LEADS))
SWAP[0, 0] = SWAP[1, 0] = -1.0
"""Matrix from the independent leads to those with swapped arms: I becomes -I, II becomes III = II - I."""
PRECISION = np.linalg.inv(COVARIANCE)


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield no decision if the leads agree better with ECGs once the arm electrodes are swapped back."""
    if not subject.related or subject.unmeasured or not set(BASIS_LEADS) <= set(subject.leads):
        return
    signal = subject.filtered[[subject.leads.index(lead) for lead in BASIS_LEADS]].astype(np.float64)
    if (value := measure(signal @ signal.T)) > BOUND:
        sentence = "the arm electrodes are probably swapped (lead I looks inverted relative to the chest leads)."
        yield Finding("arms-swapped", sentence, Severity.NO_DECISION, value=value)


def measure(covariance: np.ndarray) -> float:
    """Return how much better the covariance of the independent leads fits with swapped arms, as a log ratio."""
    back = SWAP @ covariance @ SWAP.T
    return float(np.log((PRECISION * covariance).sum() / (PRECISION * back).sum()))
