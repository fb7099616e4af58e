"""Tables of a comparison as numbers, with one row per arm. `text.py` formats and explains them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ecgmtl.comparison.comparison import Comparison
from ecgmtl.comparison.results import Cell, Clock, RunResult
from ecgmtl.comparison.statistics import (
    UNKNOWN,
    Interval,
    best_of,
    bootstrap_p,
    hierarchical_samples,
    holm,
    mean_interval,
    seed_bootstrap,
    sign_flip_p,
    t_samples,
)
from ecgmtl.metrics.bootstrap import bootstrap, interval
from ecgmtl.metrics.ranking import mean_defined

TRIED = (1, 2, 4, 8, 16)
"""Sizes of a tuning budget for which the expected best score is given."""

Resampled = dict[str, dict[Cell, Float64[np.ndarray, " resample"]]]
"""Macro AUROC by arm and cell over resampled patients, with the same resamples for every run."""


class ArmRow(NamedTuple):
    """Final macro AUROC of an arm, and its paired differences from the reference."""

    arm: str
    n_seeds: int
    final: Interval
    """Final score with its interval over seeds and patients, like that of the differences."""
    difference: Interval
    """Difference from the reference at equal steps."""
    p: float
    p_holm: float
    p_sign_flip: float
    """Exact p-value over seeds alone."""
    over_seeds_t: Interval
    """The same difference with the interval over seeds alone, which holds for these patients only."""
    over_seeds_bootstrap: Interval
    equal_compute: Interval
    """Difference from the arm that is trained as the reference is, with the compute of an auxiliary task."""
    equal_compute_p_holm: float
    steps: float
    """Number of steps, as a ratio to the reference's. Passes and seconds are ratios, too."""
    passes: float
    seconds: float
    pace: float
    """Ratio of the seconds per record to the reference's, in the fastest epoch of each."""
    run_seconds: float
    """Seconds of one run, without validation."""


class TuningRow(NamedTuple):
    """Validation macro AUROC of the settings that an arm's tuning tried."""

    arm: str
    n_tried: int
    mean: float
    spread: float
    expected_best: dict[int, float]


def resample_runs(comparison: Comparison, n_resamples: int = 2000) -> Resampled:
    """Compute macro AUROC of every run over resampled patients, or nothing where intervals are over folds."""
    if comparison.is_over_folds:
        return {}

    def resample(run: RunResult) -> Float64[np.ndarray, " resample"]:
        truth = comparison.truth.of_fold(run.fold)
        return mean_defined(bootstrap(run.scores, truth.labels, truth.patients, n_resamples).auroc)

    return {arm: {cell: resample(run) for cell, run in runs.items()} for arm, runs in comparison.arms.items()}


def arm_rows(comparison: Comparison, resampled: Resampled) -> list[ArmRow]:
    """Return one row per arm, with p-values adjusted over all arms but the reference."""
    rows = [arm_row(comparison, resampled, arm) for arm in comparison.arms]
    equal_steps = holm(np.array([row.p for row in rows]))
    equal_compute = holm(np.array([row.equal_compute_p_holm for row in rows]))
    pairs = zip(rows, equal_steps.tolist(), equal_compute.tolist(), strict=True)
    return [row._replace(p_holm=steps, equal_compute_p_holm=compute) for row, steps, compute in pairs]


def arm_row(comparison: Comparison, resampled: Resampled, arm: str) -> ArmRow:
    """Return a row before adjustment, in which `p_holm` is nan and `equal_compute_p_holm` is unadjusted."""
    runs, base = comparison.arms[arm], comparison.arms[comparison.reference]
    scores = np.array([run.macro_auroc for run in runs.values()])
    final, final_samples = mean_samples(comparison, list(runs), scores, lambda cell: resampled[arm][cell])
    differences, samples = paired_samples(comparison, resampled, arm, comparison.reference)
    longer, longer_samples = paired_samples(comparison, resampled, arm, comparison.equal_compute)

    def cost(clock: Clock) -> float:
        mine, others = ([getattr(run.curve[-1], clock) for run in those.values()] for those in (runs, base))
        return float(np.mean(mine) / np.mean(others))

    return ArmRow(
        arm=arm,
        n_seeds=len(runs),
        final=with_interval(final, final_samples).as_share(),
        difference=with_interval(differences, samples),
        p=bootstrap_p(samples) if len(differences) > 1 else np.nan,
        p_holm=np.nan,
        p_sign_flip=sign_flip_p(differences) if len(differences) else np.nan,
        over_seeds_t=mean_interval(differences),
        over_seeds_bootstrap=seed_bootstrap(differences) if len(differences) > 1 else UNKNOWN,
        equal_compute=with_interval(longer, longer_samples),
        equal_compute_p_holm=bootstrap_p(longer_samples) if len(longer) > 1 else np.nan,
        steps=cost("step"),
        passes=cost("encoder_passes"),
        seconds=cost("seconds"),
        pace=pace(comparison, arm) / pace(comparison, comparison.reference),
        run_seconds=float(np.mean([run.curve[-1].seconds for run in runs.values()])),
    )


def pace(comparison: Comparison, arm: str) -> float:
    """Return the seconds per record in the fastest epoch of all runs, which other load affects least."""

    def fastest(run: RunResult) -> float:
        seconds, records = ([0.0, *(getattr(p, clock) for p in run.curve)] for clock in ("seconds", "samples_seen"))
        return float((np.diff(seconds) / np.diff(records)).min())

    return min(fastest(run) for run in comparison.arms[arm].values())


def paired_samples(
    comparison: Comparison, resampled: Resampled, arm: str, reference: str | None
) -> tuple[Float64[np.ndarray, " unit"], Float64[np.ndarray, " sample"]]:
    """Return paired differences of final scores and samples of their mean, both empty if no cell is shared."""
    cells = comparison.paired(arm, reference) if reference and arm not in (reference, comparison.reference) else []
    if not reference or not cells:
        return np.empty(0), np.empty(0)
    mine, other = comparison.arms[arm], comparison.arms[reference]
    values = np.array([mine[cell].macro_auroc - other[cell].macro_auroc for cell in cells])
    return mean_samples(comparison, cells, values, lambda cell: resampled[arm][cell] - resampled[reference][cell])


def mean_samples(
    comparison: Comparison,
    cells: Sequence[Cell],
    values: Float64[np.ndarray, " cell"],
    by_patients: Callable[[Cell], Float64[np.ndarray, " resample"]],
) -> tuple[Float64[np.ndarray, " unit"], Float64[np.ndarray, " sample"]]:
    """Return a figure of each seed and samples of its mean, or of each fold where the comparison is over folds.

    Folds have other patients, other training records and other seeds, so their t distribution carries all three.
    `by_patients` gives the figure of one cell over resampled patients.
    """
    if not comparison.is_over_folds:
        return values, hierarchical_samples(values, np.stack([by_patients(cell) for cell in cells]))
    by_fold = comparison.by_unit(cells, values)
    return by_fold, t_samples(by_fold)


def with_interval(values: Float64[np.ndarray, " unit"], samples: Float64[np.ndarray, " resample"]) -> Interval:
    """Return the mean of the values with the interval of the samples."""
    if not len(values):
        return UNKNOWN
    low, high = interval(samples)
    return Interval(float(values.mean()), float(low), float(high))


def tuning_rows(comparison: Comparison) -> list[TuningRow]:
    """Return one row per tuned arm. Over folds, where each fold is tuned separately, it describes one fold."""
    tried = {arm: max((run.tuning for run in runs.values()), key=len) for arm, runs in comparison.arms.items()}
    return [tuning_row(arm, np.array([trial.score for trial in trials])) for arm, trials in tried.items() if trials]


def tuning_row(arm: str, scores: Float64[np.ndarray, " trial"]) -> TuningRow:
    """Return mean, spread and expected best of an arm's trials."""
    expected = best_of(scores).tolist()
    spread = float(scores.std(ddof=1)) if len(scores) > 1 else np.nan
    best = {k: expected[k - 1] for k in TRIED if k <= len(expected)}
    return TuningRow(arm, len(scores), float(scores.mean()), spread, best)


def named_figures(comparison: Comparison, figures: Callable[[RunResult], dict[str, float]]) -> pd.DataFrame:
    """Return means over seeds of named figures, with a row per arm and a column per name, nan if an arm lacks it."""
    rows = {arm: pd.DataFrame([figures(run) for run in runs.values()]).mean() for arm, runs in comparison.arms.items()}
    return pd.DataFrame({arm: row for arm, row in rows.items() if len(row)}).T.rename_axis("arm").reset_index()


def flat(rows: Iterable[Any]) -> pd.DataFrame:
    """Return named tuples as rows. An interval takes three columns, with its ends named …_low and …_high."""
    return pd.DataFrame([flat_row(row) for row in rows])


def flat_row(row: Any) -> dict[str, Any]:
    """Return one named tuple as cells by column name. A field that is None has no cell."""
    cells: dict[str, Any] = {}
    for name, value in row._asdict().items():
        if value is None:
            continue
        if isinstance(value, Interval):
            cells |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        elif isinstance(value, dict):
            cells |= {f"{name}_of_{key}": item for key, item in value.items()}
        else:
            cells[name] = value
    return cells
