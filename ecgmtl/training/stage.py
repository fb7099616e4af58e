"""Training loop of one stage: epochs, steps, validation, early stopping, and a state to resume from."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.errors import UserError
from data_prep.files import write_text
from ecgmtl import checkpoint
from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.data.batch import Batch
from ecgmtl.data.split import Split
from ecgmtl.device import is_out_of_memory
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.optimization.diagnostics import part
from ecgmtl.optimization.optimizer import WeightAverage
from ecgmtl.optimization.weighting.base import Moment
from ecgmtl.ranks import average_over_ranks, from_first, is_first, is_parallel, n_ranks, own_rows
from ecgmtl.tasks.labels import with_targets
from ecgmtl.tracking import names
from ecgmtl.training.batches import Batches
from ecgmtl.training.curvature import Curvature
from ecgmtl.training.epoch_report import EpochReport
from ecgmtl.training.fork import Fork
from ecgmtl.training.step import Learner, Step, freeze
from ecgmtl.training.validation import validate

REWARD_PATIENTS = 2
"""Seed-sequence key for sampling the patients that reward a weighting, or choose a merge."""


ALONE = "loss_alone."
"""Prefix of a main task's training loss in the branch that learns it alone."""
DIVERGED = "diverged.txt"
"""Name of the list of records in whose batch training diverged."""
REMEDY = "Train again with a lower optimizer.lr."


class TrainingError(UserError):
    """A training that cannot continue. The message says where it stopped and what is kept."""


class BatchTooLargeError(TrainingError):
    """A batch that needs more memory than there is."""

    def __init__(self, message: str, stage: str = "", batch_size: int = 0) -> None:
        super().__init__(message)
        self.stage, self.batch_size = stage, batch_size


Probes = dict[int, dict[str, Tensor]]
"""Diagnostics of an epoch, by step and name."""
Report = Callable[[EpochReport], None]


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
        self.refuse_without_targets()
        self.reward_split, train = self.keep_reward_patients()
        self.batches = Batches(train, self.stage, (self.config.seed, self.config.place_of(self.stage.name)))
        self.refuse_uneven_shares()
        measured = self.stage.diagnostics.curvature
        self.curvature = Curvature(measured, self.stage, train, self.config.seed) if measured else None
        self.fork: Fork | None = None
        if self.stage.fork and self.reward_split is not None:
            self.fork = Fork(self.learner, self.stage.fork, self.config, self.train, self.reward_split)

    def refuse_without_targets(self) -> None:
        """Raise TrainingError where a task has targets of its own and no training record has one."""
        for task in self.stage.tasks:
            if task.name in self.train.targets and not torch.isfinite(self.train.targets[task.name]).any():
                raise TrainingError(
                    f"stage '{self.stage.name}' learns {task.name}, but no training record has a value "
                    f"{task.lacks_targets}."
                )

    def refuse_uneven_shares(self) -> None:
        """Raise TrainingError where parallel processes cannot share a batch, or a loss needs all of it at once."""
        size = min(self.stage.batch_size, len(self.batches.split))
        if size % (2 * n_ranks()) and is_parallel():
            raise TrainingError(
                f"stage '{self.stage.name}': batches of {size} records cannot be shared by {n_ranks()} processes, each "
                f"with half of its share from either half; set batch_size to a multiple of {2 * n_ranks()}."
            )
        if self.stage.n_views > 1 and is_parallel():
            raise TrainingError(
                f"stage '{self.stage.name}': contrastive compares all records of a batch, of which each process has a "
                f"share; leave contrastive out, or train in one process."
            )

    def keep_reward_patients(self) -> tuple[Split | None, Split]:
        """Return the patients that only reward a weighting or choose a merge, and those to train on.

        Raises:
            TrainingError: nobody with labels is left to train on.
        """
        share = self.stage.fork.patients if self.stage.fork else self.learner.weighting.reward_patients
        if not share:
            return None, self.train
        held_out = self.train.sample_patients(share, (self.config.seed, REWARD_PATIENTS), self.train.labeled)
        if not self.train.labeled[~held_out].any():
            raise TrainingError(
                f"stage '{self.stage.name}': of {self.train.labeled.sum()} labeled records none is left to train "
                f"on beside those that {'choose the merge' if self.stage.fork else 'reward the weighting'}; label more "
                f"records, or {'leave fork out' if self.stage.fork else 'use another weighting'}."
            )
        return self.train.select(held_out), self.train.select(~held_out)

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

    def run(self, report: Report, state_path: Path, advance: Callable[[], None] = lambda: None) -> dict[str, Tensor]:
        """Train to the end and return the weights that the stage keeps. `advance` is called after every step.

        Raises:
            BatchTooLargeError: a batch needs more memory than there is.
            TrainingError: training diverged.
        """
        self.advance, self.folder = advance, state_path.parent
        while self.epoch < self.stage.epochs and not self.patience_is_over:
            finished = self.run_epoch_in_memory()
            self.epoch += 1
            report(finished)
            if is_first():
                checkpoint.save_state(state_path, self.state_dict())
        return self.best if self.stage.keep == "best" else dict(self.average.mean)

    @property
    def average(self) -> WeightAverage[MultiTaskModel]:
        """EMA weights that are validated and kept."""
        return self.learner.average if self.fork is None else self.fork.average

    def run_epoch_in_memory(self) -> EpochReport:
        try:
            return self.run_epoch()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            name, size = self.stage.name, self.stage.batch_size
            message = f"stage '{name}': a batch of {size} records needs more memory than there is; set a smaller one."
            raise BatchTooLargeError(message, name, size) from error

    def run_epoch(self) -> EpochReport:
        first_step = self.epoch * self.n_batches
        steps: list[Step] = []
        probes: Probes = {}
        if self.epoch == 0:
            self.measure_curvature(first_step, probes)
        started = time.perf_counter()
        freeze(self.model, self.stage)
        for number, batch in enumerate(self.batches.of_epoch(self.epoch), first_step):
            moment = Moment(number, self.epoch, number / self.n_steps)
            batch = own_share(batch)
            steps.append((self.fork or self.learner).step(batch, moment))
            self.probe_and_reward(batch, moment, steps[-1], probes)
            self.advance()
        columns = self.collect(steps, first_step)
        self.learner.weighting.end_epoch()
        merged = self.fork.merge(self.epoch) if self.fork else {}
        seconds = time.perf_counter() - started
        figures = self.validate() | merged
        if self.is_middle or self.is_last:
            self.measure_curvature(first_step + len(steps) - 1, probes)
        n_records = self.batches.n_records
        figures[names.SPEED] = n_records / seconds
        numbers = {step: {name: float(value) for name, value in probe.items()} for step, probe in probes.items()}
        return EpochReport(self.stage.name, self.epoch, first_step, columns, figures, seconds, n_records, numbers)

    def measure_curvature(self, step: int, probes: Probes) -> None:
        """Add the curvature of the EMA weights to the probes of a step, if the stage has such diagnostics."""
        if self.curvature:
            probes.setdefault(step, {}).update(self.curvature.measure(self.average.model))

    @property
    def is_middle(self) -> bool:
        """Whether half of the stage's epochs are done after this one."""
        return self.epoch == (self.stage.epochs - 1) // 2 and self.epoch > 0

    @property
    def is_last(self) -> bool:
        """Whether the stage ends after this epoch, whose validation is done."""
        ends_early = self.stage.patience is not None and self.epoch - self.best_epoch >= self.stage.patience
        return ends_early or self.epoch + 1 == self.stage.epochs

    def probe_and_reward(self, batch: Batch, moment: Moment, step: Step, probes: Probes) -> None:
        """Probe the tasks' gradients after a step, and reward the weighting with the score of the main task."""
        every, weighting = self.stage.diagnostics.every, self.learner.weighting
        if every and moment.step % every == 0:
            probes.setdefault(moment.step, {}).update(self.learner.probe(batch, moment, step.weights))
        if weighting.reward_every and (moment.step + 1) % weighting.reward_every == 0 and self.reward_split is not None:
            only = self.stage.model_copy(update={"losses": (self.stage.selected_by,)})
            reward_split = self.reward_split
            figures = from_first(lambda: validate(self.model, only, reward_split))
            weighting.reward(-figures[names.loss(self.stage.selected_by)])
            freeze(self.model, self.stage)

    def collect(self, steps: list[Step], first_step: int) -> dict[str, np.ndarray]:
        """Return the figures of an epoch's steps by name.

        Raises:
            TrainingError: a loss or the gradient was not finite, or a loss was negative that never should be.
        """
        losses, weights = on_host([step.losses for step in steps]), on_host([step.weights for step in steps])
        extras = {name: on_host([step.extras[name] for step in steps]) for name in steps[0].extras}
        norms = on_host([step.gradient_norm for step in steps])
        alone = {} if self.fork is None else {f"{ALONE}{self.stage.selected_by}": self.fork.take_losses()}
        self.refuse_divergence(losses, weights, np.column_stack([*extras.values(), *alone.values(), norms]), first_step)
        tables = {names.LOSS: losses, names.WEIGHT: weights} | {f"{name}.": table for name, table in extras.items()}
        columns = {f"{name}{t}": table[:, i] for name, table in tables.items() for i, t in enumerate(self.stage.losses)}
        lr_at = self.stage.optimizer.lr_at
        rates = [lr_at((first_step + i) / self.n_steps) for i in range(len(steps))]
        return columns | alone | {names.GRADIENT_NORM: norms, names.LEARNING_RATE: np.array(rates, dtype=np.float32)}

    def refuse_divergence(self, losses: np.ndarray, weights: np.ndarray, others: np.ndarray, first_step: int) -> None:
        """Raise TrainingError at the first step with a figure that is not finite or a loss that cannot be negative."""
        left_out = np.isnan(losses) & (weights == 0)
        below = (losses < 0) & ~np.array([task.can_be_negative for task in self.stage.tasks])
        bad = ((~np.isfinite(losses) & ~left_out) | below).any(axis=1)
        bad |= ~np.isfinite(np.column_stack([weights, others])).all(axis=1)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            values = ", ".join(f"{t} {v:.3g}" for t, v in zip(self.stage.losses, losses[row], strict=True))
            raise TrainingError(
                f"stage '{self.stage.name}', epoch {self.epoch + 1}, step {first_step + row + 1}: training diverged: a "
                f"loss or its gradient is not finite, or a loss is below zero ({values}).{self.list_batch(row)} "
                f"{self.kept_state} {REMEDY}"
            )

    def list_batch(self, number: int) -> str:
        """Write the names of a batch's records into the stage's folder, and return a sentence that says so.

        Names of files may be names of patients, so the message, which MLflow gets too, does not have them.
        """
        if self.folder is None or not is_first():
            return ""
        path = self.folder / DIVERGED
        write_text(path, "".join(f"{name}\n" for name in self.batches.names_of(self.epoch, number)))
        return f" Its batch is listed in {path}."

    @property
    def kept_state(self) -> str:
        return f"The state after epoch {self.epoch} is kept." if self.epoch else "No epoch was finished."

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
        task = self.stage.selected_by
        losses = {names.task_of(name): value for name, value in figures.items() if name.startswith(names.LOSS)}
        if not np.isfinite(list(losses.values())).all():
            values = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
            raise TrainingError(
                f"stage '{self.stage.name}', epoch {self.epoch + 1}, step {(self.epoch + 1) * self.n_batches}: "
                f"training diverged: a loss on the validation records is not finite ({values}). "
                f"{self.kept_state} {REMEDY}"
            )
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


def on_host(values: list[Tensor]) -> np.ndarray:
    """Return one array of a figure over the steps, the mean over ranks, copied from the device at once."""
    table: np.ndarray = average_over_ranks(torch.stack(values)).cpu().numpy()
    return table


def own_share(batch: Batch) -> Batch:
    """Return this rank's share of a batch in a parallel training, else the batch."""
    return part(batch, own_rows(len(batch.signals)).to(batch.signals.device)) if is_parallel() else batch
