"""Report on one epoch of a stage, for the history, MLflow and the terminal."""

from typing import NamedTuple

import numpy as np

from ecgmtl.tracking import names
from ecgmtl.training.history import EpochLine


class EpochReport(NamedTuple):
    """Results of an epoch, for the history and the log."""

    stage: str
    epoch: int
    first_step: int
    """Index of the epoch's first step in the stage."""
    steps: dict[str, np.ndarray]
    """A value for each step by name: losses, weights, learning rate, gradient norm. NaN where a task was left out."""
    figures: dict[str, float]
    """Figures on the validation split, and the speed."""
    seconds: float
    """Duration of the steps and of a merge of branches, without the validation."""
    n_records: int
    probes: dict[int, dict[str, float]]
    """Diagnostics by step."""

    @property
    def last_step(self) -> int:
        return self.first_step + len(self.steps[names.LEARNING_RATE]) - 1

    def as_line(self) -> EpochLine:
        """Return the line of the history: means over the epoch's steps, and the figures."""
        known = {name: values[~np.isnan(values)] for name, values in self.steps.items()}
        means = {names.train(name): float(values.mean()) for name, values in known.items() if len(values)}
        figures = {names.validation(name): value for name, value in self.figures.items()}
        latest = {name: value for _, probe in sorted(self.probes.items()) for name, value in probe.items()}
        probed = {names.train(name): value for name, value in latest.items()}
        n_steps = self.last_step - self.first_step + 1
        return EpochLine(self.stage, self.epoch, n_steps, self.n_records, self.seconds, {**means, **figures, **probed})
