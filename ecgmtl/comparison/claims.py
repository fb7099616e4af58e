"""Verdicts on the claims about a folder of arms, by one rule for all of them.

The rule was fixed before any comparison was run.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from ecgmtl.comparison.claims_file import Claim
from ecgmtl.comparison.comparison import Comparison
from ecgmtl.comparison.effects import EFFECTS, Effect, Evidence
from ecgmtl.comparison.folds import smallest_effect
from ecgmtl.comparison.statistics import LEVEL, Interval, holm, t_test_p
from ecgmtl.comparison.tables import Resampled
from ecgmtl.comparison.text import DASH, Section
from ecgmtl.evaluation.text import number

Verdict = Literal["holds", "does not", "cannot tell"]
JOINT: dict[Verdict, str] = {
    "holds": "the claim holds",
    "does not": "the claim does not hold",
    "cannot tell": "the data cannot tell",
}
"""Verdict on all rows of a claim, as the end of a sentence."""
RULE = (
    "Each claim has a measured effect and a bound, both fixed before the runs. It holds if the whole 95 % interval is "
    "above the bound, and does not hold if the whole interval lies below. Otherwise the data cannot tell. A claim that "
    "something changes (its bound has a ±) does not hold if the whole interval lies within the bound. Otherwise it "
    "holds if the interval excludes 0. A claim with several rows holds if all of them hold, and does not hold if one "
    "does not. Intervals of final scores are over patients and seeds, all others over seeds. They are not corrected "
    "for the number of claims."
)
FOLDS_RULE = (
    "Each claim has a measured effect and a bound, both fixed before the runs. It holds if the whole 95 % interval "
    "over folds is above the bound and its p-value at the bound, corrected by Holm for all claims of the table, is "
    "below 0.05. It does not hold if the whole interval is below the bound, with such a p-value. Otherwise the data "
    "cannot tell. The smallest effect shown is the true effect for which the claim holds with a power of 80 %, given "
    "the spread over folds. A claim that something changes (its bound has a ±) does not hold if the whole interval "
    "lies within the bound, and holds if the interval and the corrected p-value exclude 0. A claim with several rows "
    "holds if all of them hold, and does not hold if one does not."
)


class ClaimRow(NamedTuple):
    """The measured effect of a claim, and its verdict. Fields that are None exist over folds only."""

    claim: str
    measured: str
    arm: str
    against: str
    n_seeds: int
    """Number of seeds, or of folds."""
    effect: Interval
    unit: str
    bound: float
    is_change: bool
    verdict: Verdict
    p_holm: float | None = None
    """p-value at the bound, or at 0 for a change, corrected for all claims."""
    smallest_effect: float | None = None
    """Smallest true effect that is shown with a power of 80 %, given the spread over folds."""
    planned_smallest_effect: float | None = None
    """The same by the simulation before the runs."""


def claim_rows(comparison: Comparison, resampled: Resampled) -> list[ClaimRow]:
    """Return one row for each claim whose arms were run."""
    evidence = Evidence(comparison, resampled)
    present = [
        claim
        for claim in comparison.claims.claims
        if {claim.arm, claim.reference} <= comparison.arms.keys() and has_its_labels(comparison, claim)
    ]
    rows = [row_of(claim, EFFECTS[claim.effect](evidence, claim)) for claim in present]
    rows = [row for row in rows if row.n_seeds]
    return corrected(rows) if comparison.is_over_folds else rows


def corrected(rows: Sequence[ClaimRow]) -> list[ClaimRow]:
    """Correct the verdicts over folds for the number of claims, and add the smallest effects."""
    bounds = [0.0 if row.is_change else row.bound for row in rows]
    p = np.array([t_test_p(row.effect, row.n_seeds, bound) for row, bound in zip(rows, bounds, strict=True)])
    n_tests = int(np.isfinite(p).sum())
    return [
        row._replace(
            p_holm=p_holm,
            smallest_effect=smallest_effect(row.effect, row.n_seeds, n_tests, bound),
            verdict=row.verdict if p_holm < LEVEL or is_within_bound(row) else "cannot tell",
        )
        for row, p_holm, bound in zip(rows, holm(p).tolist(), bounds, strict=True)
    ]


def is_within_bound(row: ClaimRow) -> bool:
    """Return whether a claimed change does not hold, for which its p-value at 0 says nothing."""
    return row.is_change and row.verdict == "does not"


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
        planned_smallest_effect=claim.smallest_effect,
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


def claims_left_out(comparison: Comparison) -> tuple[str, ...]:
    """Return the titles of claims about another fraction of labels than the runs had."""
    return tuple(claim.title for claim in comparison.claims.claims if not has_its_labels(comparison, claim))


def has_its_labels(comparison: Comparison, claim: Claim) -> bool:
    """Return whether the runs had the fraction of labels that a claim is about."""
    return claim.label_share in (None, comparison.label_share)


def claims_section(rows: Sequence[ClaimRow], left_out: Sequence[str] = ()) -> Section:
    """Return the section on claims: the rule, a row per claim, joint verdicts, and the titles of those left out."""
    is_over_folds = any(row.p_holm is not None for row in rows)
    cells = [
        {
            "claim": row.claim,
            "measured by": row.measured,
            "arms": f"{row.arm}, {row.against}",
            "folds" if is_over_folds else "seeds": str(row.n_seeds),
            "result": effect_text(row),
            "bound": f"{'±' if row.is_change else ''}{row.bound:g} {row.unit}",
            **(fold_cells(row) if is_over_folds else {}),
            "verdict": row.verdict,
        }
        for row in rows
    ]
    verdicts: dict[str, list[Verdict]] = {}
    for row in rows:
        verdicts.setdefault(row.claim, []).append(row.verdict)
    several = tuple(
        f"All rows of '{claim}' together: {JOINT[joint(each)]}." for claim, each in verdicts.items() if len(each) > 1
    )
    others = (
        (f"Not evaluated, because they are about a different fraction of labels: {'; '.join(left_out)}.",)
        if left_out
        else ()
    )
    return Section("Claims", (FOLDS_RULE if is_over_folds else RULE,), pd.DataFrame(cells), notes=(*several, *others))


def fold_cells(row: ClaimRow) -> dict[str, str]:
    """Return the cells that a claim has over folds only."""
    smallest, planned = row.smallest_effect, row.planned_smallest_effect
    shown = DASH if smallest is None or not math.isfinite(smallest) else f"{smallest:.2f} {row.unit}"
    before = f" ({planned:g} by the simulation before)" if planned is not None else ""
    p = math.nan if row.p_holm is None else row.p_holm
    return {"p, Holm": number(p, 3), "smallest effect shown": f"{shown}{before}"}


def effect_text(row: ClaimRow) -> str:
    """Return an effect with its interval and unit as text."""
    value, low, high = row.effect
    if not math.isfinite(value):
        return DASH
    return f"{value:+.2f}" + (f" [{low:+.2f}, {high:+.2f}]" if math.isfinite(low) else "") + f" {row.unit}"
