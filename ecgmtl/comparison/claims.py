"""Verdicts on the claims about a folder of arms, by one rule for all of them.

The rule was fixed before any comparison was run.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import pandas as pd

from ecgmtl.comparison.claims_file import Claim
from ecgmtl.comparison.effects import EFFECTS, Effect, Evidence
from ecgmtl.comparison.results import Comparison
from ecgmtl.comparison.statistics import Interval
from ecgmtl.comparison.tables import Resampled
from ecgmtl.comparison.text import DASH, Section

Verdict = Literal["holds", "does not", "cannot tell"]
RULE = (
    "Each claim has a measured effect and a bound, both fixed before the runs. It holds if the whole 95 % interval is "
    "above the bound, and does not if the whole interval lies below. Otherwise the data cannot tell. A claim that "
    "something changes (its bound has a ±) does not hold if the whole interval lies within the bound. Otherwise it "
    "holds if the interval excludes 0. A claim with several rows holds if all of them hold, and does not if one does "
    "not. Intervals of final scores are over patients and seeds, all others over seeds. They are not corrected for the "
    "number of claims."
)


class ClaimRow(NamedTuple):
    """The measured effect of a claim, and its verdict."""

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
    """Return one row for each claim whose arms were run."""
    evidence = Evidence(comparison, resampled)
    present = [claim for claim in comparison.claims.claims if {claim.arm, claim.reference} <= comparison.arms.keys()]
    rows = [row_of(claim, EFFECTS[claim.effect](evidence, claim)) for claim in present]
    return [row for row in rows if row.n_seeds]


def row_of(claim: Claim, effect: Effect) -> ClaimRow:
    """Return a claim with its effect and verdict."""
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
    """Return the verdict by the rule. Without an interval over seeds the data cannot tell."""
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
    """Return the verdict on a claim with several figures."""
    if "does not" in verdicts:
        return "does not"
    return "cannot tell" if "cannot tell" in verdicts else "holds"


def claims_section(rows: Sequence[ClaimRow]) -> Section:
    """Return the section on claims: the rule, a row per claim, and joint verdicts."""
    cells = [
        {
            "claim": row.claim,
            "measured by": row.measured,
            "arms": f"{row.arm}, {row.against}",
            "seeds": str(row.n_seeds),
            "result": effect_text(row),
            "bound": f"{'±' if row.is_change else ''}{row.bound:g} {row.unit}",
            "verdict": row.verdict,
        }
        for row in rows
    ]
    verdicts: dict[str, list[Verdict]] = {}
    for row in rows:
        verdicts.setdefault(row.claim, []).append(row.verdict)
    several = tuple(f"{claim}: {joint(each)}." for claim, each in verdicts.items() if len(each) > 1)
    return Section("Claims", (RULE,), pd.DataFrame(cells), notes=several)


def effect_text(row: ClaimRow) -> str:
    """Return an effect with its interval and unit as text."""
    value, low, high = row.effect
    if not math.isfinite(value):
        return DASH
    return f"{value:+.2f}" + (f" [{low:+.2f}, {high:+.2f}]" if math.isfinite(low) else "") + f" {row.unit}"
