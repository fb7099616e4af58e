"""Diagnostics of a stage by step: the tasks' gradients every few steps, and the curvature at a few moments."""

from torch import Tensor

from ecgmtl.data.batch import Batch
from ecgmtl.data.split import Split
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.optimization.weighting.base import Moment
from ecgmtl.training.curvature import Curvature
from ecgmtl.training.step import Learner


class Probes:
    """Diagnostics of an epoch, which are collected on the device. None changes the training."""

    def __init__(self, learner: Learner, train: Split, seed: int) -> None:
        settings = learner.stage.diagnostics
        self.learner, self.every = learner, settings.every
        self.curvature = Curvature(settings.curvature, learner.stage, train, seed) if settings.curvature else None
        self.by_step: dict[int, dict[str, Tensor]] = {}

    def probe_gradients(self, batch: Batch, moment: Moment, weights: Tensor) -> None:
        """Probe the tasks' gradients after a step with these weights, if they are due."""
        if self.every and moment.step % self.every == 0:
            self.by_step.setdefault(moment.step, {}).update(self.learner.probe(batch, moment, weights))

    def measure_curvature(self, step: int, model: MultiTaskModel) -> None:
        """Measure the curvature of a model at a step, if the stage has such diagnostics."""
        if self.curvature:
            self.by_step.setdefault(step, {}).update(self.curvature.measure(model))

    def take(self) -> dict[int, dict[str, float]]:
        """Return the diagnostics of the epoch by step and name, and forget them."""
        numbers = {step: {name: float(v) for name, v in figures.items()} for step, figures in self.by_step.items()}
        self.by_step = {}
        return numbers
