"""Suspected swaps of electrodes, and inverted chest leads.

The leads predict each other: Kors and van Herpen (Am J Cardiol 2001, 88:396) detect swapped electrodes by how well the
leads agree with those reconstructed from the others. Here the covariance S of the eight independent leads is compared
with that of ECGs, C, as recorded and with a mistake T undone. The value is log(tr(C⁻¹S) / tr(C⁻¹T⁻¹ST⁻¹')): above 0 the
leads agree better with ECGs once the mistake is undone. Each swap of two limb electrodes but that of left arm and left
leg, each swap of a limb and a chest electrode, V1 with V2 or V3, and each inverted chest lead is tried, and the limb
electrodes moved on by one. The mistake whose value is farthest above its bound is reported. It need not be the one
that was made: limb electrodes that were moved on, for example, are often reported as swapped arms.

=============================================  =====  ===================  ============
fault                                          bound  folds 1 to 8         fold 9
=============================================  =====  ===================  ============
none: swapped arms suspected                    0     7 of 3,356           2 of 479
none: another mistake suspected                       10 of 3,356          1 of 479
arms swapped                                    0     99.8 %               99.6 %
right arm and left leg swapped                  0.2                        95 %
limb electrodes moved on, in either direction   0.2                        97 %
a limb and a chest electrode swapped            0.5                        77 to 96 %
V1 swapped with V2, with V3                     0.5                        80 %, 88 %
a chest lead inverted                           0.5                        91 to 97 %
=============================================  =====  ===================  ============

The right column counts records that get any finding of this file; 98.7 % of those with swapped arms are called so.
For the arms, a bound on the correlation of I with V6 that gives as many false alarms detects 89 %. Some of the false
alarms may be swaps that nobody noticed. Dextrocardia looks like swapped arms. A swap of left arm and left leg changes
too little to be detected, and one of the left arm or leg with the ground electrode looks like a heart of another axis.
Other swaps of chest electrodes, as of V2 and V3, look too much like other ECGs; the check of records unlike the
training records detects some of them.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from data_prep.leads import BASIS_INDEX, BASIS_LEADS, ELECTRODES, electrode_algebra
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity
from data_prep.quality.flat_leads import COVARIANCE

SWAPPED_ARMS = "the arm electrodes are probably swapped (lead I looks inverted relative to the chest leads)."
PRECISION = np.linalg.inv(COVARIANCE)
ARMS = 0.0
"""Value above which swapped arms are suspected: from there on they are the likelier explanation."""
AMONG_LIMBS = 0.2
"""Value above which another swap of limb electrodes is suspected."""
OTHERS = 0.5
"""Value above which a swap with a chest electrode or an inversion is suspected."""


class Mistake(NamedTuple):
    """A way of connecting electrodes wrongly."""

    sentence: str
    code: str
    leads: tuple[str, ...]
    bound: float
    undone: Float64[np.ndarray, "8 8"]
    """Matrix from the independent leads with the mistake to those without it."""


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding on the mistake whose value is farthest above its bound. It rules out a decision."""
    signal = subject.independent
    if not subject.related or signal is None:
        return
    values = measure(signal @ signal.T)
    above = values - [mistake.bound for mistake in mistakes()]
    index = int(above.argmax())
    if above[index] > 0:
        likeliest = mistakes()[index]
        yield Finding(likeliest.code, likeliest.sentence, Severity.NO_DECISION, likeliest.leads, float(values[index]))


def measure(covariance: Float64[np.ndarray, "8 8"]) -> Float64[np.ndarray, " mistake"]:
    """Return how much better the covariance of the independent leads fits once each mistake is undone, as log ratios.

    For U = T⁻¹, tr(C⁻¹USU') is the sum of the products of S and U'C⁻¹U, which does not depend on the record.
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
        Mistake(SWAPPED_ARMS, "arms-swapped", (), ARMS, _undone({"RA": "LA", "LA": "RA"})),
        _swap("RA and LL", {"RA": "LL", "LL": "RA"}, AMONG_LIMBS),
        *(_swap("RA, LA and LL", moves, AMONG_LIMBS) for moves in moved),
        *(_swap(f"{one} and {other}", {one: other, other: one}, OTHERS) for one, other in pairs),
        *(_inversion(lead) for lead in chest),
    )


def _swap(names: str, moves: dict[str, str], bound: float) -> Mistake:
    sentence = f"the electrodes {names} are probably swapped (the leads agree better with ECGs once this is undone)."
    return Mistake(sentence, "electrodes-swapped", (), bound, _undone(moves))


def _undone(moves: dict[str, str]) -> Float64[np.ndarray, "8 8"]:
    return np.linalg.inv(leads_with(moves))


def _inversion(lead: str) -> Mistake:
    sentence = f"lead {lead} is probably inverted (the leads agree better with ECGs once this is undone)."
    undone = np.diag([-1.0 if other == lead else 1.0 for other in BASIS_LEADS])
    return Mistake(sentence, "lead-inverted", (lead,), OTHERS, undone)


def leads_with(moves: dict[str, str]) -> Float64[np.ndarray, "8 8"]:
    """Return the matrix from the independent leads to those with each electrode connected where `moves` says."""
    leads_of_potentials = electrode_algebra()[BASIS_INDEX]
    potentials = np.linalg.pinv(leads_of_potentials)  # up to a potential of all electrodes, which no lead shows
    moved = potentials[[ELECTRODES.index(moves.get(electrode, electrode)) for electrode in ELECTRODES]]
    return leads_of_potentials @ moved
