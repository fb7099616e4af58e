"""Ways to train, each a Learner on the real batches; and what was measured of each, as a line of a table."""

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
    """One way to train."""

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
    """A Learner under way."""

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
        self.learner.step(next(self.batches), Moment(self.n_steps, 0, 0.5))
        self.n_steps += 1

    @property
    def ecg_seconds(self) -> float:
        """A step's."""
        return self.stage.batch_size * (self.stage.augment.crop_seconds or 0.0)


def endless(batches: Batches) -> Iterator[Batch]:
    for epoch in numbers():
        yield from batches.of_epoch(epoch % batches.stage.epochs)


@dataclass
class Row:
    """What a way of training asks for and takes."""

    name: str
    work: Work
    rates: Rates
    n_records: int
    ecg_seconds: float
    taken: list[float] = field(default_factory=list)
    """Seconds a step, a round each."""
    peer: list[float] = field(default_factory=list)
    """The peer's seconds of ECG a second in the same rounds."""

    @property
    def speed(self) -> float:
        """Seconds of ECG a second."""
        return self.ecg_seconds / median(self.taken)

    @property
    def over_peer(self) -> float:
        return median(self.ecg_seconds / own / peer for own, peer in zip(self.taken, self.peer, strict=True))

    @property
    def share(self) -> float:
        """Of the peak rate of its precision."""
        return self.work.flops / median(self.taken) / (1e9 * self.rates.peak)

    def line(self) -> str:
        step = median(self.taken)
        floor = self.work.floor(self.rates)
        return (
            f"| {self.name} | {self.work.flops / 1e9:.1f} | {self.work.n_bytes / 1e6:.0f} | "
            f"{self.work.limit(self.rates)}, {1e3 * floor:.0f} | {1e3 * step:.0f} | {self.n_records / step:.0f} | "
            f"{self.speed:.0f} | {self.share:.0%} | {self.over_peer:.1f} |"
        )


HEADER = """\
| encoder | tasks | precision | run | GFLOP a step | MB a step | limit, ms | a step, ms | records/s | ECG s/s \
| of peak | times the peer |
|---|---|---|---|--:|--:|---|--:|--:|--:|--:|--:|"""
