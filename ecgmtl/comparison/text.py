"""The tables of the report on a comparison, each with the words that it needs; all cells are finished text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ecgmtl.comparison.course import CourseRow, LateRow, ThresholdRow
from ecgmtl.comparison.results import Comparison
from ecgmtl.comparison.statistics import Interval
from ecgmtl.comparison.tables import TRIED, ArmRow, TuningRow
from ecgmtl.evaluation.text import number

LEVEL = 0.05
"""Of the corrected p-value below which a verdict is given."""
DASH = "–"


@dataclass(frozen=True)
class Section:
    title: str
    words: tuple[str, ...] = ()
    table: pd.DataFrame | None = None
    pictures: tuple[str, ...] = ()
    """File names without ending."""
    notes: tuple[str, ...] = ()
    """What stands below table and pictures, as a list."""


def arms_section(comparison: Comparison) -> Section:
    rows = [
        {
            "arm": arm,
            "group": comparison.about(arm).group or DASH,
            "seeds": str(len(runs)),
            "what it does": comparison.about(arm).about + (" (control)" if comparison.about(arm).is_control else ""),
        }
        for arm, runs in comparison.arms.items()
    ]
    return Section("The arms", table=pd.DataFrame(rows))


LESS = (
    "Arms that cost more by Cost, as two encoders or a gradient a task do, had more compute than it, and their "
    "difference to it flatters them."
)


def final_section(comparison: Comparison, arms: Sequence[ArmRow]) -> Section:
    reference, longer = comparison.reference, comparison.equal_compute
    longer = longer if longer in comparison.arms else None
    rows = []
    for row in arms:
        cells = {
            "arm": row.arm,
            "seeds": str(row.n_seeds),
            "macro AUROC": plain(row.final),
            f"less {reference}": signed(row.difference),
            "p, Holm": number(row.p_holm, 3),
            "verdict": verdict(row, reference),
            "the same over seeds alone": signed(row.over_seeds_t),
            "p, sign flips": number(row.p_sign_flip, 3),
        }
        if longer:
            cells[f"less {longer}"] = signed(row.equal_compute)
            cells["p, Holm, of that"] = number(row.equal_compute_p_holm, 3)
        rows.append(cells)
    words = (
        "Of the model that each run kept. Intervals say what to expect of other patients and other seeds; "
        "those over seeds alone, of other seeds on these very patients. What each arm had of steps and seconds is "
        "told under Cost.",
        *([f"{longer} has half as many steps again: what a fixed weight costs. {LESS}"] if longer else []),
    )
    return Section("Final score", words, pd.DataFrame(rows), ("forest",))


def verdict(row: ArmRow, reference: str) -> str:
    if row.arm == reference:
        return "reference"
    if not row.p_holm < LEVEL:
        return "cannot tell"
    return "better" if row.difference.value > 0 else "worse"


def course_section(reference: str, courses: Sequence[CourseRow]) -> Section:
    rows = [
        {
            "arm": row.arm if row.counts_pretraining else f"{row.arm}, pretraining not counted",
            "area": plain(row.area, 3),
            f"less {reference}": signed(row.area_difference, 3),
            "loss at 25 %": plain(row.loss_at_25, 3),
            "at 50 %": plain(row.loss_at_50, 3),
            "at 75 %": plain(row.loss_at_75, 3),
            "at 100 %": plain(row.loss_at_100, 3),
        }
        for row in courses
    ]
    words = (
        "The area under the curve of macro AUROC says how early an arm learns: 0 is chance throughout, 1 the final "
        f"score of {reference} throughout. Losses are those of classification on the validation records, as ratios to "
        f"{reference} after as many training records (the budget is what {reference} was trained for); 0.80 is a loss "
        "20 % lower. Intervals are over seeds. Pretraining counts as training in which nothing is known yet; the rows "
        "without it show what it gives to those who have it already.",
    )
    return Section("Convergence", words, pd.DataFrame(rows), ("curves", "curves_seconds", "areas"))


def threshold_section(reference: str, thresholds: Sequence[ThresholdRow]) -> Section:
    rows = [
        {
            "arm": row.arm,
            "threshold": f"{row.threshold:.3f} ({percent(row.share)})",
            "runs there": f"{row.n_reached} of {row.n_seeds}",
            "median": percent(row.median),
            "mean": percent(row.mean),
            "ratio": number(row.ratio.value, 2),
            "paired bootstrap": ends(row.ratio, 2),
            "t": ends(row.ratio_t, 2),
            "pretraining not counted": plain(row.without_pretraining, 2),
            "in seconds": plain(row.wall_clock, 2),
        }
        for row in thresholds
    ]
    words = (
        f"When macro AUROC first reaches a share of the final score of {reference} and holds it for two evaluations; "
        "median (Kaplan-Meier) and mean (restricted to the budget) in per cent of the budget. A run that never gets "
        f"there counts as censored at its end. The ratio is that of the means to {reference}: 0.75 is a quarter less "
        "training. An interval of no width means that the seeds agree to the evaluation, no more.",
    )
    return Section("Time to a threshold", words, pd.DataFrame(rows), ("thresholds",))


def late_section(reference: str, late: Sequence[LateRow]) -> Section:
    rows = [
        {
            "arm": row.arm,
            "spread": plain(row.spread),
            f"spread less {reference}": signed(row.spread_difference),
            "validation loss": plain(row.loss, 3),
            "training loss": plain(row.train_loss, 3),
            "gap": plain(row.gap, 3),
            f"gap less {reference}": signed(row.gap_difference, 3),
        }
        for row in late
    ]
    words = (
        "How restless and how over-fitted the runs end. Spread: standard deviation of macro AUROC about a straight "
        "line over the last quarter of the run. Gap: validation less training loss of classification at the last "
        "evaluation; the wider, the more was learnt by heart. The training loss is that of augmented records, and a "
        "mean over the last epoch. Intervals are over seeds.",
    )
    return Section("The end of training", words, pd.DataFrame(rows))


def tuning_section(tuning: Sequence[TuningRow]) -> Section:
    rows = [
        {
            "arm": row.arm,
            "tried": str(row.n_tried),
            "mean": number(row.mean),
            "standard deviation": number(row.spread),
            **{f"best of {k}": number(row.expected_best.get(k, math.nan)) for k in TRIED},
        }
        for row in tuning
    ]
    words = (
        "Macro AUROC of the settings that tuning tried, and what the best of k would be on average. Where the standard "
        "deviation is larger than the differences between arms, the tuning decides, not the method.",
    )
    return Section("Tuning", words, pd.DataFrame(rows))


def cost_section(reference: str, arms: Sequence[ArmRow]) -> Section:
    rows = [
        {
            "arm": row.arm,
            "seconds a run": number(row.run_seconds, 0),
            "seconds": number(row.seconds, 2),
            "pace": number(row.pace, 2),
            "steps": number(row.steps, 2),
            "passes of the encoder": number(row.passes, 2),
        }
        for row in arms
    ]
    words = (
        f"Training without validation, in units of {reference} but for the first column; means over seeds. Pace: "
        "seconds a record in the fastest epoch of all, which tells an arm's cost where the machine had other work too.",
    )
    return Section("Cost", words, pd.DataFrame(rows))


def named_section(title: str, words: str, figures: pd.DataFrame) -> Section:
    cells = figures.set_index("arm").map(lambda value: number(value, 4)).reset_index()
    return Section(title, (words,), cells.rename(columns=lambda name: str(name).replace("_", " ")))


def plain(span: Interval, places: int = 4) -> str:
    return number(span.value, places) + (f" {ends(span, places)}" if math.isfinite(span.low) else "")


def signed(span: Interval, places: int = 4) -> str:
    if not math.isfinite(span.value):
        return DASH
    limits = f" [{span.low:+.{places}f}, {span.high:+.{places}f}]" if math.isfinite(span.low) else ""
    return f"{span.value:+.{places}f}{limits}"


def ends(span: Interval, places: int) -> str:
    return f"[{span.low:.{places}f}, {span.high:.{places}f}]" if math.isfinite(span.low) else DASH


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if math.isfinite(share) else DASH
