"""What a recipe asks of an accelerator that is not at hand: its FLOPs and bytes counted, the accelerator's peaks given.

    python benchmarks/cost.py configs/ptbxl-full.yaml --records 17418

One step of each stage is made here, in bf16, and what its operations compute, read and write is added up. The limit is
what these take at the peaks: by default an H200's, 989 TFLOP/s dense in bf16 and 4.8 TB/s (NVIDIA's data sheet).
Operations that are fused or find their operands in a cache move fewer bytes. A small network does not reach its limit:
every operation of an eager step has to be launched first, and by the time of that a run is better foretold; compiled,
there are fewer.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from machine import Rates, Work, count
from noise import random_split

from ecgmtl.config.run import Config, load_config
from ecgmtl.data.split import Split
from ecgmtl.optimization.weighting import Moment
from ecgmtl.training.batches import Batches
from ecgmtl.training.step import Learner

N_LABELS = 71
"""Of each further classifier; they cost next to nothing."""


class StageCost(NamedTuple):
    name: str
    step: Work
    n_steps: int

    def limit(self, rates: Rates) -> float:
        """Seconds of all its steps."""
        return self.n_steps * self.step.floor(rates)

    def launches(self, microseconds: float) -> float:
        """Seconds that launching takes in all its steps, if each operation takes this long."""
        return 1e-6 * microseconds * self.n_steps * self.step.n_operations

    def line(self, rates: Rates, microseconds: float) -> str:
        step = self.step
        return (
            f"| {self.name} | {self.n_steps} | {step.flops / 1e9:.1f} | {step.n_bytes / 1e6:.0f} | "
            f"{step.n_operations} | {self.n_steps * step.flops / 1e15:.2f} | {step.limit(rates)} | "
            f"{self.limit(rates):.1f} | {self.launches(microseconds):.0f} |"
        )


HEADER = """\
| stage | steps | GFLOP a step | MB a step | operations a step | PFLOP | limit | s at the limit | s of launches |
|---|--:|--:|--:|--:|--:|---|--:|--:|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--records", type=int, required=True, help="to train on; 17418 in PTB-XL's folds 1 to 8")
    parser.add_argument("--set", nargs="*", default=[], help="settings, as stages.0.epochs=5")
    parser.add_argument("--teraflops", type=float, default=989.0)
    parser.add_argument("--terabytes", type=float, default=4.8, help="a second")
    parser.add_argument("--launch", type=float, default=5.0, help="microseconds an operation")
    given = parser.parse_args()
    config = load_config(given.config, (*given.set, "precision=bf16", "compile=false"))
    rates = Rates(1e3 * given.teraflops, 1e3 * given.teraflops, 1e3 * given.terabytes)
    costs = list(costs_of(config, given.records))
    print(HEADER, *(cost.line(rates, given.launch) for cost in costs), sep="\n")
    flops = sum(cost.n_steps * cost.step.flops for cost in costs)
    limit = sum(cost.limit(rates) for cost in costs)
    launches = sum(cost.launches(given.launch) for cost in costs)
    held = given.records * 12 * round(config.preprocess.fs * config.preprocess.seconds) * 2
    print(f"\nIn all {flops / 1e15:.2f} PFLOP, {limit:.0f} s at the limit, {launches:.0f} s of launches.")
    print(f"The signals take {held / 1e9:.2f} GB of its memory.")


def costs_of(config: Config, n_records: int) -> Iterator[StageCost]:
    most = max(stage.batch_size for stage in config.stages)
    split = random_split(torch.device("cpu"), most)
    labels = torch.zeros(most, N_LABELS)
    split = replace(split, auxiliary_labels=dict.fromkeys(config.auxiliary_labels, labels))
    for place, stage in enumerate(config.stages):
        yield StageCost(stage.name, step_of(config, place, split), stage.epochs * (n_records // stage.batch_size))


def step_of(config: Config, place: int, split: Split) -> Work:
    torch.manual_seed(0)
    counts = {name: labels.shape[1] for name, labels in split.auxiliary_labels.items()}
    stage = config.stages[place]
    learner = Learner(config.build_model(split.labels.shape[1], counts), stage, config, split)
    batch = next(Batches(split, stage, (0, place)).of_epoch(0))
    learner.step(batch, Moment(0, 0, 0.5))
    return count(lambda: learner.step(batch, Moment(1, 0, 0.5)))


if __name__ == "__main__":
    main()
