"""Suspected exchange of electrodes, or inversion of a chest lead. `arms.py` describes the exchange of the arms.

The others are found in the same way: the leads' covariance S agrees better with that of ECGs, C, once the exchange T is
undone. The value is log(tr(C⁻¹S) / tr(C⁻¹T⁻¹ST⁻¹')). Each exchange of two limb electrodes, of a limb and a chest
electrode, and each inverted chest lead is tried, and V1 exchanged with V2 or V3. Exchanges of other chest electrodes
are left to the check of records unlike the training records, because V2 and V3 exchanged, for example, look too much
like other ECGs. The mistake whose value is farthest above its bound is reported. It may not be the one that was made:
limb electrodes that were moved on are often called exchanged arms, for example.

=============================================  =====  ===================  ============
fault                                          bound  folds 1 to 8         fold 9
=============================================  =====  ===================  ============
none: suspected, without the arms                     10 of 3,356          1 of 479
right arm and left leg exchanged                0.2                        95 %
limb electrodes moved on, in either direction   0.2                        97 %
a limb and a chest electrode exchanged          0.5                        77 to 96 %
V1 exchanged with V2, with V3                   0.5                        80 %, 88 %
a chest lead inverted                           0.5                        91 to 97 %
=============================================  =====  ===================  ============

An exchange of left arm and left leg cannot be seen in this way, and one of the left arm or leg with the ground
electrode is like a heart of another axis.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from data_prep.leads import BASIS_LEADS
from data_prep.quality import arms
from data_prep.quality.arms import PRECISION
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
AMONG_LIMBS = 0.2
"""Value above which an exchange of limb electrodes is suspected."""
OTHERS = 0.5
"""Value above which another exchange, or an inversion, is suspected."""


class Mistake(NamedTuple):
    """A way of connecting electrodes wrongly."""

    sentence: str
    code: str
    leads: tuple[str, ...]
    bound: float
    undone: Float64[np.ndarray, "8 8"]
    """Matrix from the independent leads with the mistake to those without it."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield no decision on the mistake whose value is farthest above its bound."""
    if not subject.related or subject.unmeasured or not set(BASIS_LEADS) <= set(subject.leads):
        return
    signal = subject.filtered[[subject.leads.index(lead) for lead in BASIS_LEADS]].astype(np.float64)
    values = measure(signal @ signal.T)
    above = values - [mistake.bound for mistake in mistakes()]
    index = int(above.argmax())
    if above[index] > 0:
        likeliest = mistakes()[index]
        yield Finding(likeliest.code, likeliest.sentence, Severity.NO_DECISION, likeliest.leads, float(values[index]))


def measure(covariance: Float64[np.ndarray, "8 8"]) -> Float64[np.ndarray, " mistake"]:
    """Return how much better the covariance of the independent leads fits once each mistake is undone, as log ratios.

    tr(C⁻¹TST') is the sum of the products of S and T'C⁻¹T, which do not depend on the record.
    """
    return np.log((PRECISION * covariance).sum() / (_precisions() * covariance).sum(axis=(1, 2)))


@cache
def _precisions() -> Float64[np.ndarray, "mistake 8 8"]:
    return np.stack([mistake.undone.T @ PRECISION @ mistake.undone for mistake in mistakes()])


@cache
def mistakes() -> tuple[Mistake, ...]:
    """Return the mistakes that are looked for."""
    limbs, chest = ELECTRODES[:3], ELECTRODES[3:]
    moved = [{"RA": "LA", "LA": "LL", "LL": "RA"}, {"RA": "LL", "LL": "LA", "LA": "RA"}]
    pairs = [("V1", "V2"), ("V1", "V3"), *((limb, lead) for limb in limbs for lead in chest)]
    return (
        Mistake(arms.SENTENCE, "arms-swapped", (), arms.BOUND, arms.EXCHANGE),
        _exchange("RA and LL", {"RA": "LL", "LL": "RA"}, AMONG_LIMBS),
        *(_exchange("RA, LA and LL", moves, AMONG_LIMBS) for moves in moved),
        *(_exchange(f"{one} and {other}", {one: other, other: one}, OTHERS) for one, other in pairs),
        *(_inversion(lead) for lead in chest),
    )


def _exchange(names: str, moves: dict[str, str], bound: float) -> Mistake:
    sentence = f"the electrodes {names} are probably exchanged (the leads agree better with ECGs once it is undone)."
    return Mistake(sentence, "electrodes-swapped", (), bound, np.linalg.inv(leads_with(moves)))


def _inversion(lead: str) -> Mistake:
    sentence = f"lead {lead} is probably inverted (the leads agree better with ECGs once it is undone)."
    undone = np.diag([-1.0 if other == lead else 1.0 for other in BASIS_LEADS])
    return Mistake(sentence, "lead-inverted", (lead,), OTHERS, undone)


def leads_with(moves: dict[str, str]) -> Float64[np.ndarray, "8 8"]:
    """Return the matrix from the independent leads to those with each electrode connected where `moves` says."""
    potentials = np.zeros((9, 8))  # of each electrode, relative to that of the right arm
    potentials[1, 0] = potentials[2, 1] = 1.0
    potentials[3:, 2:] = np.eye(6)
    potentials[3:, :2] = 1 / 3  # the chest leads are measured from the mean of the limb electrodes
    moved = potentials[[ELECTRODES.index(moves.get(electrode, electrode)) for electrode in ELECTRODES]]
    return np.vstack([moved[1] - moved[0], moved[2] - moved[0], moved[3:] - moved[:3].mean(axis=0)])
