"""The figures of a comparison: a row an arm, as numbers. What they mean is said in text."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ecgmtl.comparison.results import Clock, Comparison, RunResult
from ecgmtl.comparison.statistics import (
    UNKNOWN,
    Interval,
    best_of,
    bootstrap_p,
    hierarchical_draws,
    holm,
    mean_interval,
    seed_bootstrap,
    sign_flip_p,
)
from ecgmtl.metrics.bootstrap import bootstrap, interval
from ecgmtl.metrics.ranking import mean_defined

TRIED = (1, 2, 4, 8, 16)
"""Sizes of a tuning budget for which its expected best is given."""

Resampled = dict[str, dict[int, Float64[np.ndarray, " resample"]]]
"""Macro-AUROC by arm and seed over patients drawn again, the same draws for every run."""


class ArmRow(NamedTuple):
    """Final macro-AUROC of an arm, and its paired differences to the main task alone."""

    arm: str
    n_seeds: int
    final: Interval
    """Interval over seeds and patients, as that of the differences."""
    difference: Interval
    """To the reference at equal steps."""
    p: float
    p_holm: float
    p_sign_flip: float
    """Exact, over seeds alone."""
    over_seeds_t: Interval
    """The same difference with the interval over seeds alone: for these patients, not for others."""
    over_seeds_bootstrap: Interval
    equal_compute: Interval
    """Difference to the reference that had the compute of an auxiliary task too."""
    equal_compute_p_holm: float
    steps: float
    """Steps, passes and seconds are in those of the reference."""
    passes: float
    seconds: float
    pace: float
    """Seconds a record in the fastest epoch, in those of the reference."""
    run_seconds: float
    """Of one run, without validation."""


class TuningRow(NamedTuple):
    """What an arm's tuning tried, as validation macro-AUROC."""

    arm: str
    n_tried: int
    mean: float
    spread: float
    expected_best: dict[int, float]


def resample_runs(comparison: Comparison, n_resamples: int = 2000) -> Resampled:
    truth = comparison.truth

    def draws(run: RunResult) -> Float64[np.ndarray, " resample"]:
        return mean_defined(bootstrap(run.scores, truth.labels, truth.patients, n_resamples).auroc)

    return {arm: {seed: draws(run) for seed, run in runs.items()} for arm, runs in comparison.arms.items()}


def arm_rows(comparison: Comparison, resampled: Resampled) -> list[ArmRow]:
    """A row an arm; p-values are adjusted over all arms but the reference."""
    rows = [arm_row(comparison, resampled, arm) for arm in comparison.arms]
    equal_steps = holm(np.array([row.p for row in rows]))
    equal_compute = holm(np.array([row.equal_compute_p_holm for row in rows]))
    pairs = zip(rows, equal_steps.tolist(), equal_compute.tolist(), strict=True)
    return [row._replace(p_holm=steps, equal_compute_p_holm=compute) for row, steps, compute in pairs]


def arm_row(comparison: Comparison, resampled: Resampled, arm: str) -> ArmRow:
    """The row before adjustment: `p_holm` is nan, `equal_compute_p_holm` the plain p-value."""
    runs, base = comparison.arms[arm], comparison.arms[comparison.reference]
    final = np.array([run.macro_auroc for run in runs.values()])
    differences, draws = paired_draws(comparison, resampled, arm, comparison.reference)
    longer, longer_draws = paired_draws(comparison, resampled, arm, comparison.equal_compute)

    def cost(clock: Clock) -> float:
        mine, others = ([getattr(run.curve[-1], clock) for run in those.values()] for those in (runs, base))
        return float(np.mean(mine) / np.mean(others))

    return ArmRow(
        arm=arm,
        n_seeds=len(runs),
        final=spanned(final, hierarchical_draws(final, np.stack(list(resampled[arm].values())))),
        difference=spanned(differences, draws),
        p=bootstrap_p(draws) if len(differences) > 1 else np.nan,
        p_holm=np.nan,
        p_sign_flip=sign_flip_p(differences) if len(differences) else np.nan,
        over_seeds_t=mean_interval(differences),
        over_seeds_bootstrap=seed_bootstrap(differences) if len(differences) > 1 else UNKNOWN,
        equal_compute=spanned(longer, longer_draws),
        equal_compute_p_holm=bootstrap_p(longer_draws) if len(longer) > 1 else np.nan,
        steps=cost("step"),
        passes=cost("encoder_passes"),
        seconds=cost("seconds"),
        pace=pace(comparison, arm) / pace(comparison, comparison.reference),
        run_seconds=float(np.mean([run.curve[-1].seconds for run in runs.values()])),
    )


def pace(comparison: Comparison, arm: str) -> float:
    """Seconds a record in the fastest epoch of all runs: what else the machine did is no one's fault."""

    def fastest(run: RunResult) -> float:
        seconds, records = ([0.0, *(getattr(p, clock) for p in run.curve)] for clock in ("seconds", "samples_seen"))
        return float((np.diff(seconds) / np.diff(records)).min())

    return min(fastest(run) for run in comparison.arms[arm].values())


def paired_draws(
    comparison: Comparison, resampled: Resampled, arm: str, reference: str | None
) -> tuple[Float64[np.ndarray, " seed"], Float64[np.ndarray, " draw"]]:
    """Paired differences of final scores, and draws of their mean; both empty where nothing can be paired."""
    seeds = comparison.paired(arm, reference) if reference and arm not in (reference, comparison.reference) else []
    if not reference or not seeds:
        return np.empty(0), np.empty(0)
    mine, other = comparison.arms[arm], comparison.arms[reference]
    values = np.array([mine[seed].macro_auroc - other[seed].macro_auroc for seed in seeds])
    by_patients = np.stack([resampled[arm][seed] - resampled[reference][seed] for seed in seeds])
    return values, hierarchical_draws(values, by_patients)


def spanned(values: Float64[np.ndarray, " seed"], draws: Float64[np.ndarray, " resample"]) -> Interval:
    if not len(values):
        return UNKNOWN
    low, high = interval(draws)
    return Interval(float(values.mean()), float(low), float(high))


def tuning_rows(comparison: Comparison) -> list[TuningRow]:
    """A row an arm that was tuned."""
    tried = {arm: max((run.tuning for run in runs.values()), key=len) for arm, runs in comparison.arms.items()}
    return [tuning_row(arm, np.array([one.score for one in those])) for arm, those in tried.items() if those]


def tuning_row(arm: str, scores: Float64[np.ndarray, " trial"]) -> TuningRow:
    expected = best_of(scores).tolist()
    spread = float(scores.std(ddof=1)) if len(scores) > 1 else np.nan
    best = {k: expected[k - 1] for k in TRIED if k <= len(expected)}
    return TuningRow(arm, len(scores), float(scores.mean()), spread, best)


def named_figures(comparison: Comparison, figures: Callable[[RunResult], dict[str, float]]) -> pd.DataFrame:
    """Means over seeds of what the runs call by name, a row an arm, a column a name; nan where an arm lacks it."""
    rows = {arm: pd.DataFrame([figures(run) for run in runs.values()]).mean() for arm, runs in comparison.arms.items()}
    return pd.DataFrame({arm: row for arm, row in rows.items() if len(row)}).T.rename_axis("arm").reset_index()


def flat(rows: Iterable[Any]) -> pd.DataFrame:
    """Named tuples as rows for programs: an interval takes three columns, its ends called …_low and …_high."""
    return pd.DataFrame([flat_row(row) for row in rows])


def flat_row(row: Any) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, value in row._asdict().items():
        if isinstance(value, Interval):
            cells |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        elif isinstance(value, dict):
            cells |= {f"{name}_of_{key}": item for key, item in value.items()}
        else:
            cells[name] = value
    return cells
