"""Course of a run's training: its curves against a clock, and figures of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from ecgmtl.comparison.results import Clock, Point, RunResult


class Course(NamedTuple):
    """Curves of a run against one clock, with nan before the main task is learned."""

    times: Float64[np.ndarray, " evaluation"]
    scores: Float64[np.ndarray, " evaluation"]
    losses: Float64[np.ndarray, " evaluation"]
    train_losses: Float64[np.ndarray, " evaluation"]


def course(run: RunResult, clock: Clock = "samples_seen", *, amortized: bool = False) -> Course:
    """Return the run's curves, which start at the end of pretraining if `amortized`.

    Stages that do not learn the main task, such as one that trains only the decoder, repeat its last figures.
    """
    start = pretraining(run)
    points = run.curve[start:] if amortized else run.curve
    begin = float(getattr(run.curve[start - 1], clock)) if amortized and start else 0.0
    times, *figures = (column(points, name) for name in (clock, "macro_auroc", "loss", "train_loss"))
    return Course(times - begin, *figures)


def column(points: Sequence[Point], name: str) -> Float64[np.ndarray, " evaluation"]:
    """Return one figure of each point. Where a point lacks it, the last one before stands in."""
    values = np.array([getattr(point, name) for point in points], dtype=np.float64)
    last_known = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    return values[last_known]


def pretraining(run: RunResult) -> int:
    """Return the number of evaluations before the main task's first, or 0 if it is never learned."""
    learned = [index for index, point in enumerate(run.curve) if point.macro_auroc is not None]
    return learned[0] if learned else 0


def loss_after(records: float, run: RunResult, *, counts_pretraining: bool = True) -> float:
    """Return the main validation loss after this many training records, or nan before and beyond the run."""
    curve = course(run, amortized=not counts_pretraining)
    return float(np.interp(records, curve.times, curve.losses, left=np.nan, right=np.nan))


def final_loss(run: RunResult) -> float:
    """Return the main validation loss at the last evaluation."""
    return float(course(run).losses[-1])


def final_train_loss(run: RunResult) -> float:
    """Return the main training loss of the last epoch."""
    return float(course(run).train_losses[-1])


def gap(run: RunResult) -> float:
    """Return validation loss minus training loss of the main task at the end."""
    return final_loss(run) - final_train_loss(run)
