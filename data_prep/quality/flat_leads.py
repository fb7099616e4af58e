"""Dead leads: which carry no ECG, how they are replaced, and how many of them an ECG may have.

Chest leads that a file lacks are replaced in the same way; docs/quality.md has what that costs.

The table shows what predictions of the recipe's model lose on 240 records of PTB-XL's fold 9. With all leads, the macro
AUROC is 0.923, and 1 of 107 normal ECGs is decided to have MI. "Left at 0" is a dead lead as the file has it,
"estimated" is a dead lead as it is replaced here.

==================  =======================================  =======================================
dead                left at 0                                estimated
                    AUROC  decisions changed  false MI       AUROC  decisions changed  false MI
==================  =====  =================  =============  =====  =================  =============
V1                  0.919  3.9 %              3              0.920  1.6 %              3
V2                  0.921  3.8 %              5              0.924  1.3 %              1
V2, V5              0.918  4.8 %              5              0.923  1.3 %              1
V1, V2              0.912  7.7 %              5              0.920  3.0 %              2
V1, V2, V3          0.905  10.0 %             11             0.918  6.4 %              5
V3, V4, V5, V6      0.890  10.6 %             4              0.907  5.5 %              3
V1 to V6            0.856  16.5 %             29             0.878  13.6 %             6
I, II               0.885  7.5 %              2              0.889  5.8 %              1
all but II          -      -                  -              0.834  14.7 %             0
==================  =====  =================  =============  =====  =================  =============

So up to two dead chest leads are estimated, and records with more are refused. Two limb leads must be alive, from which
the others follow exactly. A V2 that is flat for half of the time changes 1.3 % of the decisions, for three quarters
2.5 %. So a lead that is flat for most of the time is dead.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from data_prep.leads import BASIS_LEADS, LIMB_LEADS, STANDARD_LEADS, derive_limb_leads, leads_are
from data_prep.quality.finding import Finding, Severity
from data_prep.quality.lost_voltage import TYPICAL_MV

DEAD = 0.004
"""Standard deviation in mV over a second below which a lead is dead in it."""
SHARE = 0.03
"""The same relative to the record's largest lead, so that the leads of an ECG in a wrong unit are not judged dead. In
3,835 records of PTB-XL one lead is below both for most of the time (V6 of 19299_lr, which is flat for 7 of 10 s) and no
other for more than a second in ten."""
MOST_FLAT = 0.5
"""Largest fraction of the time for which a living lead is flat, not counting times when all leads are."""
FEWEST_LIMB_LEADS = 2
MOST_ESTIMATED = 2

COVARIANCE = np.array([
    [0.480, 0.286, -0.370, -0.094, 0.214, 0.482, 0.553, 0.464],
    [0.286, 0.454, -0.260, -0.071, 0.283, 0.549, 0.569, 0.464],
    [-0.370, -0.260, 0.692, 0.750, 0.327, -0.184, -0.432, -0.441],
    [-0.094, -0.071, 0.750, 1.619, 1.186, 0.469, -0.025, -0.211],
    [0.214, 0.283, 0.327, 1.186, 1.486, 1.085, 0.576, 0.260],
    [0.482, 0.549, -0.184, 0.469, 1.085, 1.399, 1.086, 0.715],
    [0.553, 0.569, -0.432, -0.025, 0.576, 1.086, 1.137, 0.845],
    [0.464, 0.464, -0.441, -0.211, 0.260, 0.715, 0.845, 0.732],
])  # fmt: skip
"""Covariance of the 8 independent leads in 2,004 training records of PTB-XL (folds 1 to 8, 0.5 to 40 Hz, each record
at a variance of 1, without six records with artifacts above 6 mV)."""


def find_dead(
    leads: Sequence[str], signal: Float32[np.ndarray, "lead time"], fs: float, lost_voltage: bool = False
) -> tuple[str, ...]:
    """Return the leads that are flat, or noise of a few microvolts, for most of the time; none where all are."""
    size = min(max(round(fs), 1), signal.shape[1])
    n_blocks = signal.shape[1] // size
    seconds = signal[:, : n_blocks * size].reshape(len(signal), n_blocks, size).std(axis=2)
    deviations = signal.std(axis=1)
    unit = float(np.sqrt(np.square(deviations).mean())) / TYPICAL_MV if lost_voltage else 1.0
    flat = seconds < min(DEAD * unit, SHARE * float(deviations.max()))
    alive = ~flat.all(axis=0)
    if not alive.any():
        return ()
    shares = flat[:, alive].mean(axis=1)
    return tuple(lead for lead, share in zip(leads, shares, strict=True) if share > MOST_FLAT)


def check_flat_leads(leads: Sequence[str], dead: Sequence[str], related: bool, n_absent: int = 0) -> Iterator[Finding]:
    """Yield what is done about dead leads among the `leads` of a file, or a failure where too many are dead.

    Where each lead lost its voltage scale by itself, leads are not `related`, and dead leads become 0. `n_absent` chest
    leads that the file lacks are estimated, too.
    """
    if not dead:
        return
    n_living = len([lead for lead in leads if lead in LIMB_LEADS and lead not in dead])
    n_lost = len([lead for lead in dead if lead not in LIMB_LEADS or not related]) + n_absent
    if n_lost > MOST_ESTIMATED or n_living < FEWEST_LIMB_LEADS:
        turns = "; were the leads recorded one after another, as on a printed page?"
        sentence = (
            f"{leads_are(dead)} dead (flat, or noise of microvolts); at least {FEWEST_LIMB_LEADS} limb "
            f"leads and all but {MOST_ESTIMATED} of the chest leads must be {'there and ' * bool(n_absent)}alive"
            f"{turns if set(dead) == set(leads) else '.'}"
        )
        yield Finding("flat-lead", sentence, Severity.FAILURE, tuple(dead), len(dead))
        return
    limbs = [lead for lead in dead if lead in LIMB_LEADS]
    chest = [lead for lead in dead if lead not in LIMB_LEADS]
    if not related:
        yield _replaced(dead, "left at 0 mV")
        return
    if limbs:
        yield _replaced(limbs, "computed from the other limb leads")
    if chest:
        yield _replaced(chest, "estimated from the other leads")


def _replaced(leads: Sequence[str], how: str) -> Finding:
    return Finding("flat-lead", f"{leads_are(leads)} dead, and {how}.", leads=tuple(leads), value=len(leads))


def complete_leads(
    rows: dict[str, Float32[np.ndarray, " time"]], dead: Sequence[str], related: bool
) -> Float32[np.ndarray, "12 time"]:
    """Return all 12 leads. Limb leads that are dead or not in `rows` are computed, chest leads in `dead` are estimated.

    Where leads are not `related`, dead leads become 0.
    """
    if not related:
        rows |= {lead: np.zeros_like(rows[lead]) for lead in dead}
        return np.stack([rows[lead] for lead in STANDARD_LEADS])
    rows = {lead: row for lead, row in rows.items() if lead not in dead}
    derive_limb_leads(rows)
    if chest := [lead for lead in dead if lead not in LIMB_LEADS]:
        _estimate(rows, chest)
    return np.stack([rows[lead] for lead in STANDARD_LEADS])


def _estimate(rows: dict[str, Float32[np.ndarray, " time"]], dead: Sequence[str]) -> None:
    """Add the most likely chest leads given the living leads, C_dl C_ll^-1 x, as for jointly Gaussian leads."""
    living = [lead for lead in BASIS_LEADS if lead in rows]
    known, lost = [BASIS_LEADS.index(lead) for lead in living], [BASIS_LEADS.index(lead) for lead in dead]
    weights = np.linalg.solve(COVARIANCE[np.ix_(known, known)], COVARIANCE[np.ix_(known, lost)]).T.astype(np.float32)
    values = np.stack([rows[lead] for lead in living])
    rows |= dict(zip(dead, weights @ (values - values.mean(axis=1, keepdims=True)), strict=True))
