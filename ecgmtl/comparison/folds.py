"""Final scores of a comparison over folds, where every record outside the test split is evaluated.

The primary figure is the mean over folds of the macro AUROC within each fold. The macro AUROC of all folds together is
given beside it: it also ranks the logits of one fold's model against those of another's. Their scales differ by chance,
so it is lower, and it mixes discrimination with calibration. Differences are taken within each fold and seed, and
averaged over the seeds of a fold. Their t interval over folds carries patients, training records and seeds, since folds
differ in all three.
"""

from math import isfinite
from typing import NamedTuple

import numpy as np

from ecgmtl.comparison.comparison import Comparison
from ecgmtl.comparison.statistics import LEVEL, Interval, power_factor
from ecgmtl.comparison.tables import ArmRow
from ecgmtl.metrics.ranking import macro_auroc


class FoldRow(NamedTuple):
    """Final macro AUROC of an arm over folds, and its paired differences from the reference."""

    arm: str
    n_folds: int
    n_runs: int
    n_records: int
    """Number of records that the arm's runs are evaluated on."""
    mean: Interval
    """Mean over folds."""
    difference: Interval
    p: float
    p_holm: float
    smallest_effect: float
    """Smallest true difference that the strictest step of Holm's correction detects with a power of 80 %."""
    pooled: float
    """Macro AUROC of the logits of all folds in one list, as the mean over the seeds that have all folds."""
    pooled_difference: float
    """Difference of `pooled` from the reference's, over the seeds that both have."""
    run_seconds: float
    """Seconds of one run, without validation."""
    pace: float
    """Ratio of the seconds per record to the reference's."""
    passes: float
    """Ratio of the encoder passes to the reference's."""


class CellRow(NamedTuple):
    """Final macro AUROC of one run."""

    arm: str
    fold: int
    seed: int
    n_records: int
    macro_auroc: float
    difference: float
    """Difference from the reference's run on the same fold with the same seed. It is nan where there is none."""


def fold_rows(comparison: Comparison, arms: list[ArmRow]) -> list[FoldRow]:
    """Return one row per arm, or none where the comparison is not over folds."""
    if not comparison.is_over_folds:
        return []
    n_tests = sum(isfinite(row.p) for row in arms)
    pooled = {row.arm: pooled_scores(comparison, row.arm) for row in arms}
    return [fold_row(comparison, row, pooled, n_tests) for row in arms]


def fold_row(comparison: Comparison, row: ArmRow, pooled: dict[str, dict[int, float]], n_tests: int) -> FoldRow:
    """Return the row of one arm."""
    runs, base, mine = comparison.arms[row.arm], pooled[comparison.reference], pooled[row.arm]
    folds = {run.fold for run in runs.values()}
    shared = [] if row.arm == comparison.reference else comparison.paired(row.arm)
    n_shared = len(np.unique(comparison.units(shared)))
    differences = [mine[seed] - base[seed] for seed in mine if seed in base]
    return FoldRow(
        arm=row.arm,
        n_folds=len(folds),
        n_runs=len(runs),
        n_records=sum(len(comparison.truth.of_fold(fold).patients) for fold in folds),
        mean=row.final,
        difference=row.difference,
        p=row.p,
        p_holm=row.p_holm,
        smallest_effect=smallest_effect(row.difference, n_shared, n_tests),
        pooled=float(np.mean(list(mine.values()))) if mine else np.nan,
        pooled_difference=float(np.mean(differences)) if differences and shared else np.nan,
        run_seconds=row.run_seconds,
        pace=row.pace,
        passes=row.passes,
    )


def smallest_effect(span: Interval, n_folds: int, n_tests: int, bound: float = 0.0) -> float:
    """Return the smallest true effect above a bound that is detected with a power of 80 %, given the spread over folds.

    The level is Holm's strictest: 5 % over the number of tests.
    """
    if n_folds < 2 or not n_tests:
        return np.nan
    return bound + power_factor(n_folds, LEVEL / n_tests) * (span.value - span.low)


def pooled_scores(comparison: Comparison, arm: str) -> dict[int, float]:
    """Return the macro AUROC of all folds together by seed, for the seeds with a run on every fold."""
    runs, truths = comparison.arms[arm], [comparison.truth.of_fold(fold) for fold in comparison.folds]
    labels = np.concatenate([truth.labels for truth in truths])
    seeds = sorted({run.seed for run in runs.values()})
    whole = [seed for seed in seeds if all((fold, seed) in runs for fold in comparison.folds)]
    scores = {seed: np.concatenate([runs[fold, seed].scores for fold in comparison.folds]) for seed in whole}
    return {seed: macro_auroc(values, labels) for seed, values in scores.items()}


def cell_rows(comparison: Comparison) -> list[CellRow]:
    """Return one row per run, or none where the comparison is not over folds."""
    base = comparison.arms[comparison.reference]
    return [
        CellRow(
            arm=arm,
            fold=run.fold,
            seed=run.seed,
            n_records=len(run.scores),
            macro_auroc=run.macro_auroc,
            difference=run.macro_auroc - base[cell].macro_auroc if cell in base else np.nan,
        )
        for arm, runs in comparison.arms.items()
        for cell, run in runs.items()
        if run.fold is not None and comparison.is_over_folds
    ]
