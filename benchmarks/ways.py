"""Ways to train, each with the `Learner` and the batches of `ecgmtl train`, and their measurements as table rows."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count as numbers
from statistics import median
from typing import NamedTuple

import torch
from machine import Rates, Work

from ecgmtl.config.run import parse_config
from ecgmtl.config.stage import Stage
from ecgmtl.data.batch import Batch
from ecgmtl.data.split import Split
from ecgmtl.optimization.weighting import Moment
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.training.batches import Batches
from ecgmtl.training.step import Learner

ONE, BOTH = ("classification",), ("reconstruction", "classification")
HEADS = {"reconstruction": "decoder", "classification": "classifier"}


class Way(NamedTuple):
    """Way of training: its encoder, tasks and precision, and whether it is compiled."""

    encoder: str
    tasks: tuple[str, ...]
    precision: str
    compiled: bool

    def __str__(self) -> str:
        return f"{self.encoder} | {'one task' if self.tasks == ONE else 'both tasks'} | {self.precision} | {self.run}"

    @property
    def run(self) -> str:
        return "compiled" if self.compiled else "eager"


class Training:
    """Training run that takes one step at a time."""

    def __init__(self, way: Way, split: Split) -> None:
        tree = {"encoder": {"kind": way.encoder}, "precision": way.precision, "compile": way.compiled}
        config = parse_config(tree, str(way))
        changes = {"losses": way.tasks, "trains": ("encoder", *(HEADS[task] for task in way.tasks))}
        weighting = {"weighting": FixedSettings().model_dump()}
        self.stage = Stage.model_validate(config.stages[1].model_dump() | changes | weighting)
        torch.manual_seed(0)
        model = config.build_model(split.labels.shape[1]).to(split.device)
        self.learner = Learner(model, self.stage, config, split)
        self.batches = endless(Batches(split, self.stage, (0, 0)))
        self.n_steps = 0

    def step(self) -> None:
        """Take a step on the next batch."""
        self.learner.step(next(self.batches), Moment(self.n_steps, 0, 0.5))
        self.n_steps += 1

    @property
    def ecg_seconds(self) -> float:
        """Seconds of ECG in a batch."""
        return self.stage.batch_size * (self.stage.augment.crop_seconds or 0.0)


def endless(batches: Batches) -> Iterator[Batch]:
    """Yield the batches of one epoch after another."""
    for epoch in numbers():
        yield from batches.of_epoch(epoch % batches.stage.epochs)


@dataclass
class Row:
    """Work of a way of training, and the times that it took."""

    name: str
    work: Work
    rates: Rates
    n_records: int
    ecg_seconds: float
    taken: list[float] = field(default_factory=list)
    """Seconds per step in each round."""
    peer: list[float] = field(default_factory=list)
    """Seconds of ECG per second of the peer in the same rounds."""

    @property
    def speed(self) -> float:
        """Seconds of ECG per second."""
        return self.ecg_seconds / median(self.taken)

    @property
    def over_peer(self) -> float:
        """Speed relative to the peer, as the median over rounds."""
        return median(self.ecg_seconds / own / peer for own, peer in zip(self.taken, self.peer, strict=True))

    @property
    def share(self) -> float:
        """Fraction of the peak rate in this precision."""
        return self.work.flops / median(self.taken) / (1e9 * self.rates.peak)

    def line(self) -> str:
        """Return a row of the table."""
        step = median(self.taken)
        floor = self.work.floor(self.rates)
        return (
            f"| {self.name} | {self.work.flops / 1e9:.1f} | {self.work.n_bytes / 1e6:.0f} | "
            f"{self.work.limit(self.rates)}, {1e3 * floor:.0f} | {1e3 * step:.0f} | {self.n_records / step:.0f} | "
            f"{self.speed:.0f} | {self.share:.0%} | {self.over_peer:.1f} |"
        )


HEADER = """\
| encoder | tasks | precision | run | GFLOP per step | MB per step | limited by, ms | ms per step | records/s \
| seconds of ECG per second | fraction of the peak | times the peer |
|---|---|---|---|--:|--:|---|--:|--:|--:|--:|--:|"""
