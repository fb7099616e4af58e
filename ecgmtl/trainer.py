"""The training loop of one stage: epochs, steps, validation, early stopping, a state to go on from."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ecgmtl import checkpoint
from ecgmtl.augment import augment, draw_places
from ecgmtl.config import Config
from ecgmtl.data import Split
from ecgmtl.losses import LOSSES
from ecgmtl.masking import draw_hidden
from ecgmtl.model import Batch, MultiTaskModel
from ecgmtl.optimisation import WeightAverage, build_optimiser, set_lr
from ecgmtl.precision import autocast
from ecgmtl.stages import Stage
from ecgmtl.validation import validate


class TrainingError(RuntimeError):
    """A training that cannot go on; the message says where it was and what is kept."""


class EpochReport(NamedTuple):
    """What an epoch gave, for the history and the log."""

    stage: str
    epoch: int
    first_step: int
    """Of the stage's steps, which one this epoch began with."""
    steps: dict[str, np.ndarray]
    """By name, a value a step: losses, weights, learning rate, gradient norm."""
    figures: dict[str, float]
    """On the validation split, and speed."""

    def as_line(self) -> dict[str, Any]:
        """For the history: the mean over the epoch's steps, and the figures."""
        means = {f"train/{name}": float(values.mean()) for name, values in self.steps.items()}
        figures = {f"validation/{name}": value for name, value in self.figures.items()}
        return {"stage": self.stage, "epoch": self.epoch, **means, **figures}


Report = Callable[[EpochReport], None]


@dataclass
class StageTraining:
    """One stage under way. All that changes from epoch to epoch is in `state_dict`, so a killed run goes on exactly.

    Randomness is drawn anew for each epoch from (seed, stage, epoch), so no generator's state has to be kept.
    """

    model: MultiTaskModel
    stage: Stage
    config: Config
    train: Split
    validation: Split
    epoch: int = 0
    best_score: float = -np.inf
    best_epoch: int = -1
    best: dict[str, Tensor] = field(default_factory=dict)
    begun: bool = False
    advance: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        freeze(self.model, self.stage)
        self.weighting = self.stage.weighting.build(self.stage.losses).to(self.train.device)
        self.optimiser = build_optimiser(self.model.parameters(), self.weighting, self.stage.optimiser)
        self.average = WeightAverage(self.model, self.stage.optimiser.ema)
        self.network = torch.compile(self.model) if self.config.compile else self.model
        self.learnt = [p for p in self.model.parameters() if p.requires_grad]
        self.n_network_groups = len(self.optimiser.param_groups) - bool(list(self.weighting.parameters()))

    @property
    def n_batches(self) -> int:
        # a last batch of a few records would make noisy steps and starve BatchNorm, so it is left to the next epoch
        return max(1, len(self.train) // self.stage.batch_size)

    @property
    def patience_is_over(self) -> bool:
        return self.stage.patience is not None and self.epoch - 1 - self.best_epoch >= self.stage.patience

    def run(self, report: Report, state_path: Path, advance: Callable[[], None] = lambda: None) -> dict[str, Tensor]:
        """Train to the end, and give the weights that the stage keeps; `advance` is called after every step."""
        self.advance = advance
        while self.epoch < self.stage.epochs and not self.patience_is_over:
            found = self.run_epoch()
            self.epoch += 1
            report(found)
            checkpoint.save_state(state_path, self.state_dict())
        return self.best if self.stage.keep == "best" else dict(self.average.mean)

    def run_epoch(self) -> EpochReport:
        started = time.perf_counter()
        generator = self.seed_epoch()
        batches = self.batches(generator)
        freeze(self.model, self.stage)
        if not self.begun:
            batches = self.begin(batches)
        first_step = self.epoch * self.n_batches
        rows = [self.step(batch, first_step + i) for i, batch in enumerate(batches)]
        steps = self.collect(rows, first_step)
        self.weighting.end_epoch()
        seconds = time.perf_counter() - started
        figures = self.validate()
        figures["records_per_second"] = self.n_batches * min(self.stage.batch_size, len(self.train)) / seconds
        return EpochReport(self.stage.name, self.epoch, first_step, steps, figures)

    def seed_epoch(self) -> torch.Generator:
        """One generator for order, augmentation and masking; dropout draws from torch's own."""
        place = [stage.name for stage in self.config.stages].index(self.stage.name)
        seed = int(np.random.SeedSequence([self.config.seed, place, self.epoch]).generate_state(1)[0])
        torch.manual_seed(seed)
        return torch.Generator(self.train.device).manual_seed(seed)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        stage, split = self.stage, self.train
        order = torch.randperm(len(split), generator=generator, device=generator.device)
        for index in order[: self.n_batches * stage.batch_size].split(stage.batch_size):
            places = draw_places(len(index), split.n_samples, split.fs, stage.augment, generator)
            batch = augment(split.batch(index, places), stage.augment, generator)
            if stage.reconstructs:
                hidden = draw_hidden((len(index), places.shape[1]), split.fs, stage.masking, generator)
                batch = batch._replace(hidden=hidden, scored=stage.masking.scores(hidden))
            yield batch

    def begin(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Let the weighting start from the losses of the first batch, which is then trained on like the others."""
        first = next(batches)
        with torch.no_grad():
            self.weighting.begin(self.losses(first))
        self.begun = True
        yield first
        yield from batches

    def losses(self, batch: Batch) -> Tensor:
        with autocast(self.config.precision, self.train.device):
            seen = batch.signals if batch.seen is None else batch.seen
            output = self.network(seen, batch.hidden, self.stage.losses)
        return torch.stack([LOSSES[task].loss(self.model, output, batch) for task in self.stage.losses])

    def step(self, batch: Batch, number: int) -> Tensor:
        """One update; what it logs stays on the device, so that nothing waits for it."""
        progress = number / (self.n_batches * self.stage.epochs)
        set_lr(self.optimiser, self.stage.optimiser.lr_at(progress), self.n_network_groups)
        self.optimiser.zero_grad()
        losses = self.losses(batch)
        total, weights = self.weighting(losses, progress)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.learnt, self.stage.optimiser.clip or torch.inf)
        self.optimiser.step()
        self.average.update(self.model)
        self.advance()
        extra = list(self.weighting.per_task().values())
        return torch.cat([losses.detach(), weights, *extra, norm[None]])

    def collect(self, rows: list[Tensor], first_step: int) -> dict[str, np.ndarray]:
        """The epoch's log, by name.

        Raises:
            TrainingError: a loss or the gradient was not finite, or a loss was negative.
        """
        names = [f"{kind}.{task}" for kind in self.kinds() for task in self.stage.losses] + ["gradient_norm"]
        table = torch.stack(rows).cpu().numpy()
        n_tasks = len(self.stage.losses)
        bad = ~np.isfinite(table).all(axis=1) | (table[:, :n_tasks] < 0).any(axis=1)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            told = ", ".join(f"{t} {v:.3g}" for t, v in zip(self.stage.losses, table[row, :n_tasks], strict=True))
            kept = f"The state after epoch {self.epoch} is kept." if self.epoch else "Nothing was learnt yet."
            raise TrainingError(
                f"stage '{self.stage.name}', epoch {self.epoch + 1}, step {first_step + row + 1}: a loss is not finite "
                f"or below zero, or its gradient is ({told}). {kept} A lower optimiser.lr may do."
            )
        steps = {name: table[:, i] for i, name in enumerate(names)}
        total = self.n_batches * self.stage.epochs
        lr_at = self.stage.optimiser.lr_at
        steps["lr"] = np.array([lr_at((first_step + i) / total) for i in range(len(rows))], dtype=np.float32)
        return steps

    def kinds(self) -> list[str]:
        return ["loss", "weight", *self.weighting.per_task()]

    def validate(self) -> dict[str, float]:
        """Validation figures of the running mean of the weights; the best epoch's are remembered."""
        current = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.mean)
        figures = validate(self.model, self.stage, self.validation)
        score = self.score(figures)
        if score > self.best_score:
            self.best_score, self.best_epoch = score, self.epoch
            self.best = {name: value.clone() for name, value in self.average.mean.items()}
        self.model.load_state_dict(current)
        return figures

    def score(self, figures: dict[str, float]) -> float:
        """By which the best epoch is chosen; higher is better.

        Raises:
            TrainingError: the figure is not a number.
        """
        task = self.stage.judged_by
        score = figures["macro_auroc"] if self.stage.classifies else -figures[f"loss.{task}"]
        if np.isnan(score):
            raise TrainingError(
                f"stage '{self.stage.name}', epoch {self.epoch + 1}: {task} cannot be judged on the "
                f"{len(self.validation)} validation records: no label has positives and negatives among them, or an "
                f"output is not a number."
            )
        return score

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "best_score": float(self.best_score),
            "best_epoch": self.best_epoch,
            "best": self.best,
            "begun": self.begun,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "weighting": self.weighting.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("epoch", "best_score", "best_epoch", "begun"):
            setattr(self, name, state[name])
        device = self.train.device
        self.best = {name: value.to(device) for name, value in state["best"].items()}
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.weighting.load_state_dict(state["weighting"])


def freeze(model: MultiTaskModel, stage: Stage) -> None:
    """Let the stage's parts learn and hold the others still; in eval mode BatchNorm keeps its statistics too."""
    for name, part in model.named_children():
        learns = name in stage.trains
        part.train(learns).requires_grad_(learns)
