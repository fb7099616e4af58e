"""Claims about auxiliary losses: what each should show in a comparison, and a verdict by one rule for all.

Claims, arms and rule were fixed before the comparison was run; docs/evidence.md says where they come from.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import pandas as pd

from ecgmtl.comparison.effects import (
    ADVISED,
    MASKED,
    SHARE,
    SWEEP,
    Effect,
    Evidence,
    calmer,
    gained,
    gained_in_range,
    gained_over_other_weights,
    gained_over_tuned,
    less_noise,
    lower_loss,
    narrower,
    saved,
    saved_time,
)
from ecgmtl.comparison.results import EQUAL_COMPUTE, REFERENCE, Comparison
from ecgmtl.comparison.statistics import Interval
from ecgmtl.comparison.tables import Resampled
from ecgmtl.comparison.text import DASH, Section, percent

Verdict = Literal["holds", "does not", "cannot tell"]
POINT = 1.0
"""Of macro-AUROC times 100: the least final gain that is claimed, and so the least difference that matters."""
LOSS = "An auxiliary loss lowers the main loss by 15 to 25 % at equal epochs"
UNTIL = f"until {percent(SHARE)} of the final score of {REFERENCE}"
BEST = f"{SWEEP} arms"
WEIGHT = "fixed-tuned"
"""The arm whose weight tuning looks for."""
TUNED = "final score less that of the fixed weight which is best by the other seeds"
RULE = (
    "Each claim was given a figure, and a bound that the figure has to exceed, before the runs. It holds where the "
    "whole 95 % interval lies above the bound, and does not where the whole interval lies below; else the data cannot "
    "tell. A change (its bound has a ±) does not hold where the whole interval lies within the bound; else it holds "
    "where the interval excludes 0, and else cannot be told. A claim with several figures holds where all of them bear "
    "it out, and does not where one speaks against it. Intervals of final scores are over patients and seeds, the "
    "others over seeds; they are not corrected for the number of claims."
)


class Claim(NamedTuple):
    title: str
    measured: str
    effect: Callable[[Evidence, str, str], Effect]
    unit: str
    bound: float = 0.0
    """What the effect has to exceed."""
    arm: str = ADVISED
    reference: str = REFERENCE
    is_change: bool = False
    """Whether an effect of either sign bears the claim out; one within the bound is none."""
    against: str = ""
    """What it is compared with, where that is not the reference."""


def change(title: str, arm: str, reference: str) -> Claim:
    """That two arms do not end alike."""
    return Claim(title, "final score", gained, "points", POINT, arm, reference, is_change=True)


def tuned(what: str, arm: str, reference: str) -> Claim:
    """That an arm ends higher than another, where the settings of both were searched for with the same effort."""
    against = "a tuned fixed weight" if reference == WEIGHT else "tuned classification alone"
    return Claim(f"{what}, tuned, beats {against}", "final score", gained, "points", 0.0, arm, reference)


CLAIMS = (
    Claim(LOSS, "validation loss after 25 % of the budget", partial(lower_loss, percent=25), "%", 15),
    Claim(LOSS, "validation loss after 50 % of the budget", partial(lower_loss, percent=50), "%", 15),
    Claim(LOSS, "validation loss after 100 % of the budget", partial(lower_loss, percent=100), "%", 15),
    Claim("It saves 20 to 30 % of training", f"records {UNTIL}", saved, "%", 20),
    Claim("It saves 20 to 30 % of the time", f"seconds {UNTIL}, at the fastest pace", saved_time, "%", 20),
    Claim(
        "Fine-tuning after pretraining converges 20 % faster",
        f"records {UNTIL}, the pretraining not counted",
        partial(saved, amortised=True),
        "%",
        20,
        arm="pretrain",
    ),
    Claim(
        "Weight 0.3 is right for classification",
        "final score less that of each other fixed weight, the smallest such difference",
        gained_over_other_weights,
        "points",
        -POINT,
        against=f"every other {SWEEP} arm",
    ),
    Claim(
        "Weights from 0.1 to 0.5 generally work",
        f"final score of each less that of {REFERENCE}, the smallest such difference",
        gained_in_range,
        "points",
    ),
    Claim(
        "A weight that falls is better than its mean held constant",
        "final score",
        gained,
        "points",
        arm="decay",
        reference="decay-mean",
    ),
    Claim(
        "It speeds up the early phase", "validation loss after 25 % of the budget", partial(lower_loss, percent=25), "%"
    ),
    Claim(
        "It does beside the same holes without it",
        "validation loss after 25 % of the budget",
        partial(lower_loss, percent=25),
        "%",
        reference=MASKED,
    ),
    Claim("It steadies the late phase", "spread of macro AUROC over the last quarter", calmer, "points"),
    Claim("It lessens over-fitting", "validation less training loss at the end", narrower, "nats", reference=MASKED),
    Claim("It lowers the variance of the gradient by 30 %", "noise scale of the main gradient", less_noise, "%", 30),
    Claim("It adds 1 to 2 points to the final score", "final score at equal steps", gained, "points", POINT),
    Claim("It does at equal compute", "final score", gained, "points", POINT, reference=EQUAL_COMPUTE),
    Claim("It helps beside the same holes without it", "final score", gained, "points", reference=MASKED),
    change("A constant factor on the loss changes the result with Adam", "factor-adam-0.08", "factor-adam-1"),
    change("A constant factor on the loss changes the result with SGD", "factor-sgd-0.08", "factor-sgd-1"),
    change("With SGD, it is another thing than the same factor on the rate", "factor-sgd-0.08", "factor-sgd-lr-0.08"),
    Claim(
        "Uncertainty weighting beats a tuned fixed weight",
        TUNED,
        gained_over_tuned,
        "points",
        arm="uncertainty",
        against=BEST,
    ),
    Claim("GradNorm beats a tuned fixed weight", TUNED, gained_over_tuned, "points", arm="gradnorm", against=BEST),
    Claim("DWA beats a tuned fixed weight", TUNED, gained_over_tuned, "points", arm="dwa", against=BEST),
    tuned("Uncertainty weighting", "uncertainty", WEIGHT),
    tuned("GradNorm", "gradnorm", WEIGHT),
    tuned("DWA", "dwa", WEIGHT),
    tuned("An auxiliary loss with a fixed weight", WEIGHT, REFERENCE),
)
"""In the order of docs/evidence.md; "it" is an auxiliary loss with the weight that is advised."""


class ClaimRow(NamedTuple):
    claim: str
    measured: str
    arm: str
    against: str
    n_seeds: int
    effect: Interval
    unit: str
    bound: float
    is_change: bool
    verdict: Verdict


def claim_rows(comparison: Comparison, resampled: Resampled) -> list[ClaimRow]:
    """A row a figure, for the claims whose arms are there."""
    evidence = Evidence(comparison, resampled)
    present = [claim for claim in CLAIMS if {claim.arm, claim.reference} <= comparison.arms.keys()]
    rows = [row_of(claim, claim.effect(evidence, claim.arm, claim.reference)) for claim in present]
    return [row for row in rows if row.n_seeds]


def row_of(claim: Claim, effect: Effect) -> ClaimRow:
    return ClaimRow(
        claim=claim.title,
        measured=claim.measured,
        arm=claim.arm,
        against=claim.against or claim.reference,
        n_seeds=effect.n_seeds,
        effect=effect.span,
        unit=claim.unit,
        bound=claim.bound,
        is_change=claim.is_change,
        verdict=judge(effect, claim.bound, is_change=claim.is_change),
    )


def judge(effect: Effect, bound: float, *, is_change: bool = False) -> Verdict:
    """The rule; without an interval over seeds nothing can be told."""
    _, low, high = effect.span
    if effect.n_seeds < 2 or not low <= high:
        return "cannot tell"
    if is_change:
        if max(-low, high) < bound:
            return "does not"
        return "holds" if low > 0 or high < 0 else "cannot tell"
    if low > bound:
        return "holds"
    return "does not" if high < bound else "cannot tell"


def joint(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a claim with several figures."""
    if "does not" in verdicts:
        return "does not"
    return "cannot tell" if "cannot tell" in verdicts else "holds"


def claims_section(rows: Sequence[ClaimRow]) -> Section:
    cells = [
        {
            "claim": row.claim,
            "measured by": row.measured,
            "arms": f"{row.arm}, {row.against}",
            "seeds": str(row.n_seeds),
            "found": found(row),
            "bound": f"{'±' if row.is_change else ''}{row.bound:g} {row.unit}",
            "verdict": row.verdict,
        }
        for row in rows
    ]
    verdicts: dict[str, list[Verdict]] = {}
    for row in rows:
        verdicts.setdefault(row.claim, []).append(row.verdict)
    several = tuple(f"{claim}: {joint(given)}." for claim, given in verdicts.items() if len(given) > 1)
    return Section("Claims", (RULE,), pd.DataFrame(cells), notes=several)


def found(row: ClaimRow) -> str:
    value, low, high = row.effect
    if not math.isfinite(value):
        return DASH
    return f"{value:+.2f}" + (f" [{low:+.2f}, {high:+.2f}]" if math.isfinite(low) else "") + f" {row.unit}"
