"""Training loop of one stage: epochs, steps, validation, early stopping, and a state to resume from."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.data.split import Split
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.optimization.optimizer import WeightAverage
from ecgmtl.optimization.weighting.base import Moment
from ecgmtl.ranks import from_first, is_first
from ecgmtl.tasks.labels import with_targets
from ecgmtl.tracking import names
from ecgmtl.training.batches import Batches, own_share
from ecgmtl.training.divergence import DivergenceCheck
from ecgmtl.training.epoch_report import EpochReport
from ecgmtl.training.errors import TrainingError, refusing_too_large_batches
from ecgmtl.training.fork import Fork
from ecgmtl.training.held_out import hold_out, reward_weighting
from ecgmtl.training.probes import Probes
from ecgmtl.training.requirements import require_even_shares, require_targets
from ecgmtl.training.state_file import save_state
from ecgmtl.training.step import Learner, Step, freeze
from ecgmtl.training.step_figures import StepFigures
from ecgmtl.training.validation import validate

ReportEpoch = Callable[[EpochReport], None]


@dataclass
class StageTraining:
    """Training of one stage. Its full mutable state is in `state_dict`, so a killed run resumes exactly."""

    model: MultiTaskModel
    stage: Stage
    config: Config
    train: Split
    validation: Split
    key: str = ""
    """Key of the stage's result. A state with another key is not resumed."""
    epoch: int = 0
    best_score: float = -np.inf
    best_epoch: int = -1
    best: dict[str, Tensor] = field(default_factory=dict)
    advance: Callable[[], None] = lambda: None
    folder: Path | None = None
    """Folder of the stage's files, once it runs."""

    def __post_init__(self) -> None:
        self.learner = Learner(self.model, self.stage, self.config, self.train)
        self.train, self.validation = with_targets(self.train, self.validation, self.stage.tasks)
        require_targets(self.stage, self.train)
        self.held_out, train = hold_out(self.learner, self.train, self.config.seed)
        require_even_shares(self.stage, len(train))
        self.batches = Batches(train, self.stage, (self.config.seed, self.config.place_of(self.stage.name)))
        self.divergence = DivergenceCheck(self.stage, self.batches)
        self.probes = Probes(self.learner, train, self.config.seed)
        self.fork: Fork | None = None
        if self.stage.fork and self.held_out is not None:
            self.fork = Fork(self.learner, self.stage.fork, self.config, self.train, self.held_out)

    @property
    def n_batches(self) -> int:
        return self.batches.n_batches

    @property
    def n_steps(self) -> int:
        """Number of steps of the whole stage."""
        return self.n_batches * self.stage.epochs

    @property
    def patience_is_over(self) -> bool:
        return self.stage.patience is not None and self.epoch - 1 - self.best_epoch >= self.stage.patience

    def run(
        self, report: ReportEpoch, state_path: Path, advance: Callable[[], None] = lambda: None
    ) -> dict[str, Tensor]:
        """Train to the end and return the weights that the stage keeps. `advance` is called after every step.

        Raises:
            BatchTooLargeError: a batch needs more memory than there is.
            TrainingError: training diverged.
        """
        self.advance, self.folder = advance, state_path.parent
        while self.epoch < self.stage.epochs and not self.patience_is_over:
            with refusing_too_large_batches(self.stage):
                finished = self.run_epoch()
            self.epoch += 1
            report(finished)
            if is_first():
                save_state(state_path, self.state_dict())
        return self.best if self.stage.keep == "best" else dict(self.average.mean)

    @property
    def average(self) -> WeightAverage[MultiTaskModel]:
        """EMA weights that are validated and kept."""
        return self.learner.average if self.fork is None else self.fork.average

    def run_epoch(self) -> EpochReport:
        """Train for one epoch, validate, and return the report."""
        first_step = self.epoch * self.n_batches
        if self.epoch == 0:
            self.probes.measure_curvature(first_step, self.average.model)
        started = time.perf_counter()
        steps = self.take_steps(first_step)
        step_figures = StepFigures.of(steps, self.fork.take_losses() if self.fork else {})
        self.divergence.check_steps(step_figures, self.epoch, self.folder)
        self.learner.weighting.end_epoch()
        merged = self.fork.merge(self.epoch) if self.fork else {}
        seconds = time.perf_counter() - started
        figures = self.validate() | merged
        if self.is_middle or self.is_last:
            self.probes.measure_curvature(first_step + len(steps) - 1, self.average.model)
        n_records = self.batches.n_records
        figures[names.SPEED] = n_records / seconds
        columns = step_figures.columns(self.stage.losses) | {names.LEARNING_RATE: self.learning_rates(first_step)}
        return EpochReport(
            self.stage.name, self.epoch, first_step, columns, figures, seconds, n_records, self.probes.take()
        )

    def take_steps(self, first_step: int) -> list[Step]:
        """Update the network with each batch of the epoch."""
        freeze(self.model, self.stage)
        steps = []
        for number, batch in enumerate(self.batches.of_epoch(self.epoch), first_step):
            moment = Moment(number, self.epoch, number / self.n_steps)
            batch = own_share(batch)
            step = (self.fork or self.learner).step(batch, moment)
            self.probes.probe_gradients(batch, moment, step.weights)
            if self.held_out is not None:
                reward_weighting(self.learner, self.held_out, moment)
            steps.append(step)
            self.advance()
        return steps

    def learning_rates(self, first_step: int) -> np.ndarray:
        """Return the learning rate at each step of the epoch."""
        progress = [(first_step + i) / self.n_steps for i in range(self.n_batches)]
        return np.array([self.stage.optimizer.lr_at(share) for share in progress], dtype=np.float32)

    @property
    def is_middle(self) -> bool:
        """Whether half of the stage's epochs are done after this one."""
        return self.epoch == (self.stage.epochs - 1) // 2 and self.epoch > 0

    @property
    def is_last(self) -> bool:
        """Whether the stage ends after this epoch, whose validation is done."""
        ends_early = self.stage.patience is not None and self.epoch - self.best_epoch >= self.stage.patience
        return ends_early or self.epoch + 1 == self.stage.epochs

    def validate(self) -> dict[str, float]:
        """Return the validation figures of the EMA weights, and keep the weights of the best epoch."""
        mean = self.average
        figures = from_first(lambda: validate(mean.model, self.stage, self.validation))
        score = self.score(figures)
        if score > self.best_score:
            self.best_score, self.best_epoch = score, self.epoch
            self.best = {name: value.clone() for name, value in mean.mean.items()}
        return figures

    def score(self, figures: dict[str, float]) -> float:
        """Return the score by which the best epoch is chosen. Higher is better.

        Raises:
            TrainingError: the figure is not a number.
        """
        self.divergence.check_validation(figures, self.epoch)
        task = self.stage.selected_by
        score = figures[names.MACRO_AUROC] if self.stage.classifies else -figures[names.loss(task)]
        if np.isnan(score):
            raise TrainingError(
                f"stage '{self.stage.name}', epoch {self.epoch + 1}: {task} cannot be validated on the "
                f"{len(self.validation)} validation records: no label has positives and negatives among them, or an "
                f"output is not a number."
            )
        return score

    def state_dict(self) -> dict[str, Any]:
        own = {
            "key": self.key,
            "epoch": self.epoch,
            "best_score": float(self.best_score),
            "best_epoch": self.best_epoch,
        }
        fork = {} if self.fork is None else {"fork": self.fork.state_dict()}
        return {**own, "best": self.best, "learner": self.learner.state_dict(), **fork}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("epoch", "best_score", "best_epoch"):
            setattr(self, name, state[name])
        self.best = {name: value.to(self.train.device) for name, value in state["best"].items()}
        self.learner.load_state_dict(state["learner"])
        if self.fork is not None:
            self.fork.load_state_dict(state["fork"])
