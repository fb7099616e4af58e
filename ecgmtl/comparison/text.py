"""Sections of the report on a comparison. All table cells are formatted text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from ecgmtl.comparison.comparison import Comparison
from ecgmtl.comparison.folds import FoldRow
from ecgmtl.comparison.learning_curves import CourseRow, LateRow, ThresholdRow
from ecgmtl.comparison.statistics import LEVEL, Interval
from ecgmtl.comparison.tables import TRIED, ArmRow, TuningRow
from ecgmtl.evaluation.text import number

DASH = "–"


UnitName = Literal["seeds", "folds"]
"""Units that intervals are over."""


def units_of(comparison: Comparison) -> UnitName:
    """Return what the intervals of a comparison are over."""
    return "folds" if comparison.is_over_folds else "seeds"


@dataclass(frozen=True)
class Section:
    """A part of the report: text, table, plots, notes."""

    title: str
    words: tuple[str, ...] = ()
    table: pd.DataFrame | None = None
    plots: tuple[str, ...] = ()
    """File names of the plots, without extension."""
    notes: tuple[str, ...] = ()
    """List items below the table and the plots."""
    units: UnitName = "seeds"


def arms_section(comparison: Comparison) -> Section:
    """Return the section that describes the arms."""
    rows = [
        {
            "arm": arm,
            "group": comparison.about(arm).group or DASH,
            "runs" if comparison.folds else "seeds": str(len(runs)),
            "description": comparison.about(arm).about + (" (control)" if comparison.about(arm).is_control else ""),
        }
        for arm, runs in comparison.arms.items()
    ]
    return Section("Arms", table=pd.DataFrame(rows), notes=tuple(mixed_origins(comparison)))


def mixed_origins(comparison: Comparison) -> list[str]:
    """Return a sentence if runs were trained with different code, packages or devices."""
    if len(comparison.by_origin) < 2:
        return []
    parts = [f"{', '.join(sorted(arms))} with {origin}" for origin, arms in comparison.by_origin.items()]
    return [
        "Runs were trained with different code, packages or devices, which may explain differences between arms: "
        f"{'; '.join(parts)}. To compare them under the same conditions, choose another --out."
    ]


MORE_COMPUTE = (
    "Arms that cost more than that (see Cost), such as those with two encoders or a gradient per task, had more "
    "compute than it, and their difference from it is optimistic."
)


def final_section(comparison: Comparison, arms: Sequence[ArmRow]) -> Section:
    """Return the section on final scores and their differences from the reference."""
    reference, longer = comparison.reference, comparison.equal_compute
    longer = longer if longer in comparison.arms else None
    rows = []
    for row in arms:
        cells = {
            "arm": row.arm,
            "seeds": str(row.n_seeds),
            "macro AUROC": plain(row.final),
            f"minus {reference}": signed(row.difference),
            "p, Holm": number(row.p_holm, 3),
            "verdict": verdict(row, reference),
            "over seeds alone": signed(row.over_seeds_t),
            "p, sign flips": number(row.p_sign_flip, 3),
        }
        if longer:
            cells[f"minus {longer}"] = signed(row.equal_compute)
            cells["its p, Holm"] = number(row.equal_compute_p_holm, 3)
        rows.append(cells)
    words = (
        "Macro AUROC of the final model of each run. Intervals cover other patients and other seeds. Those over seeds "
        "alone cover other seeds on the same patients. Cost lists the steps and seconds of each arm.",
        *(
            [f"{longer} takes {number(steps_of(longer, arms), 2)} times the steps of {reference}. {MORE_COMPUTE}"]
            if longer
            else []
        ),
    )
    return Section("Final score", words, pd.DataFrame(rows), ("forest",))


def steps_of(arm: str, arms: Sequence[ArmRow]) -> float:
    """Return the number of steps of an arm as a ratio to the reference."""
    return next((row.steps for row in arms if row.arm == arm), math.nan)


def verdict(row: ArmRow | FoldRow, reference: str) -> str:
    """Return whether an arm is better or worse than the reference."""
    if row.arm == reference:
        return "reference"
    if not row.p_holm < LEVEL:
        return "cannot tell"
    return "better" if row.difference.value > 0 else "worse"


def folds_section(comparison: Comparison, rows: Sequence[FoldRow]) -> Section:
    """Return the section on final scores over folds."""
    reference = comparison.reference
    cells = [
        {
            "arm": row.arm,
            "folds": str(row.n_folds),
            "runs": str(row.n_runs),
            "records": str(row.n_records),
            "mean over folds": plain(row.mean),
            f"minus {reference}": signed(row.difference),
            "p, Holm": number(row.p_holm, 3),
            "verdict": verdict(row, reference),
            "smallest difference shown": number(row.smallest_effect),
            "all folds together": number(row.pooled),
            f"its minus {reference}": signed(Interval(row.pooled_difference, math.nan, math.nan)),
            "seconds per run": number(row.run_seconds, 0),
            "pace": number(row.pace, 2),
        }
        for row in rows
    ]
    words = (
        "The score of an arm is the mean over folds of the macro AUROC of its final models, each on the fold that it "
        "was not trained on. Differences are taken within each fold and seed. Intervals are t intervals over folds, "
        "which differ in patients, training records and seeds.",
        "Smallest difference shown: the true difference that this comparison detects with a power of 80 %, at the "
        "strictest level of Holm's correction and with the measured spread over folds. Where the data cannot tell, "
        "smaller differences are not excluded.",
        "All folds together: macro AUROC of the logits of all folds in one list, as the mean over seeds. It is not the "
        "primary score, because it compares logits of different models, whose scales differ. Pace: seconds per record, "
        f"as a ratio to {reference}.",
    )
    return Section("Final score", words, pd.DataFrame(cells), ("forest",), units="folds")


def course_section(reference: str, courses: Sequence[CourseRow], units: UnitName) -> Section:
    """Return the section on learning curves."""
    rows = [
        {
            "arm": row.arm if row.counts_pretraining else f"{row.arm}, pretraining not counted",
            "area": plain(row.area, 3),
            f"minus {reference}": signed(row.area_difference, 3),
            "loss at 25 %": plain(row.loss_at_25, 3),
            "at 50 %": plain(row.loss_at_50, 3),
            "at 75 %": plain(row.loss_at_75, 3),
            "at 100 %": plain(row.loss_at_100, 3),
        }
        for row in courses
    ]
    words = (
        "The area under the curve of macro AUROC measures how early an arm learns: 0 is chance throughout, 1 the final "
        f"score of {reference} throughout. Losses are classification losses on the validation records, as ratios to "
        f"{reference} after as many training records. A ratio of 0.80 is a loss 20 % lower. The budget is the training "
        f"of {reference}. Intervals are over {units}. Pretraining counts as training at chance. Rows without it show "
        "the gain for users who already have a pretrained model.",
    )
    return Section("Convergence", words, pd.DataFrame(rows), ("curves", "curves_seconds", "areas"), units=units)


def threshold_section(reference: str, thresholds: Sequence[ThresholdRow], units: UnitName) -> Section:
    """Return the section on times to thresholds."""
    rows = [
        {
            "arm": row.arm,
            "threshold": f"{row.threshold:.3f} ({percent(row.share)})",
            "runs that reach it": f"{row.n_reached} of {row.n_seeds}",
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
        "Time at which macro AUROC first reaches a percentage of the final score of "
        f"{reference} and holds it for two evaluations. Median (Kaplan-Meier) and mean (restricted to the budget) are "
        "in percent of the budget. A run that never reaches the threshold is censored at its end. The ratio of the "
        f"means is to {reference}: 0.75 is a quarter less training. An interval without width only means that the "
        f"{units} agree at the resolution of the evaluations.",
        *([f"Each fold has its own threshold, from the score of {reference} on it."] if units == "folds" else []),
    )
    return Section("Time to a threshold", words, pd.DataFrame(rows), ("thresholds",))


def late_section(reference: str, late: Sequence[LateRow], units: UnitName) -> Section:
    """Return the section on spread and overfitting at the end of training."""
    rows = [
        {
            "arm": row.arm,
            "spread": plain(row.spread),
            f"spread minus {reference}": signed(row.spread_difference),
            "stopped in time": plain(row.stopped),
            f"stopped in time minus {reference}": signed(row.stopped_difference),
            "validation loss": plain(row.loss, 3),
            "training loss": plain(row.train_loss, 3),
            "gap": plain(row.gap, 3),
            f"gap minus {reference}": signed(row.gap_difference, 3),
        }
        for row in late
    ]
    words = (
        "Stability and overfitting at the end of the runs. Spread: standard deviation of macro AUROC about a straight "
        "line over the last quarter of the run. Stopped in time: macro AUROC at the evaluation that is best on average "
        f"over the other {units}. Gap: validation minus training loss of classification at the last evaluation. A "
        "wider gap means more overfitting. The training loss is the mean over augmented records in the last epoch. "
        f"Intervals are over {units}.",
    )
    return Section("The end of training", words, pd.DataFrame(rows))


def tuning_section(tuning: Sequence[TuningRow]) -> Section:
    """Return the section on tuning."""
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
        "Macro AUROC of the settings that tuning tried, and the expected best of k settings. If the standard deviation "
        "is larger than the differences between arms, tuning matters more than the method.",
    )
    return Section("Tuning", words, pd.DataFrame(rows))


def cost_section(reference: str, arms: Sequence[ArmRow], units: UnitName) -> Section:
    """Return the section on cost."""
    rows = [
        {
            "arm": row.arm,
            "seconds per run": number(row.run_seconds, 0),
            "seconds": number(row.seconds, 2),
            "pace": number(row.pace, 2),
            "steps": number(row.steps, 2),
            "encoder passes": number(row.passes, 2),
        }
        for row in arms
    ]
    words = (
        f"Cost of training without validation, as means over {units}. Columns after the first are ratios to "
        f"{reference}. Pace: seconds per record in the fastest epoch, which other load on the machine affects least.",
    )
    return Section("Cost", words, pd.DataFrame(rows))


def named_section(
    title: str, words: str, figures: pd.DataFrame, units: UnitName, plots: tuple[str, ...] = ()
) -> Section:
    """Return a section on figures with free names. `words` may name the units."""
    cells = figures.set_index("arm").map(lambda value: number(value, 4)).reset_index()
    table = cells.rename(columns=lambda name: str(name).replace("_", " "))
    return Section(title, (words.format(units=units),), table, plots, units=units)


def plain(span: Interval, places: int = 4) -> str:
    """Return a value with its interval as text."""
    return number(span.value, places) + (f" {ends(span, places)}" if math.isfinite(span.low) else "")


def signed(span: Interval, places: int = 4) -> str:
    """Return a difference with its sign and interval as text."""
    if not math.isfinite(span.value):
        return DASH
    limits = f" [{span.low:+.{places}f}, {span.high:+.{places}f}]" if math.isfinite(span.low) else ""
    return f"{span.value:+.{places}f}{limits}"


def ends(span: Interval, places: int) -> str:
    """Return an interval as text."""
    return f"[{span.low:.{places}f}, {span.high:.{places}f}]" if math.isfinite(span.low) else DASH


def percent(share: float) -> str:
    """Return a share in percent as text."""
    return f"{100 * share:.0f} %" if math.isfinite(share) else DASH
