"""Estimate how long a recipe trains on an accelerator that you do not have, from the accelerator's peak rates.

    python benchmarks/cost.py configs/ptbxl-full.yaml --records 17418

The program runs one step of each stage on the CPU, in bf16, and counts its FLOPs and the bytes that its operations read
and write. The limit is the time that these take at the peak rates. The default rates are those of an H200: 989 TFLOP/s
(dense, bf16) and 4.8 TB/s (NVIDIA's data sheet). Operations that are fused, or that find their operands in a cache,
move fewer bytes. A small network does not reach the limit, because an eager step has to launch each of its operations.
The time of these launches then predicts a run better. A compiled step has fewer of them.
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
"""Number of labels of each auxiliary classifier. Their cost is negligible."""


class StageCost(NamedTuple):
    """Cost of a stage."""

    name: str
    step: Work
    n_steps: int

    def limit(self, rates: Rates) -> float:
        """Return the lower bound for the seconds of all steps."""
        return self.n_steps * self.step.floor(rates)

    def launches(self, microseconds: float) -> float:
        """Return the seconds of all launches, if one takes this many microseconds."""
        return 1e-6 * microseconds * self.n_steps * self.step.n_operations

    def line(self, rates: Rates, microseconds: float) -> str:
        """Return a row of the table."""
        step = self.step
        return (
            f"| {self.name} | {self.n_steps} | {step.flops / 1e9:.1f} | {step.n_bytes / 1e6:.0f} | "
            f"{step.n_operations} | {self.n_steps * step.flops / 1e15:.2f} | {step.limit(rates)} | "
            f"{self.limit(rates):.1f} | {self.launches(microseconds):.0f} |"
        )


HEADER = """\
| stage | steps | GFLOP per step | MB per step | launches per step | PFLOP | limited by | s at limit | s of launches |
|---|--:|--:|--:|--:|--:|---|--:|--:|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument(
        "--records", type=int, required=True, help="number of training records; 17418 in PTB-XL's folds 1 to 8"
    )
    parser.add_argument("--set", nargs="*", default=[], help="settings to change, such as stages.0.epochs=5")
    parser.add_argument("--teraflops", type=float, default=989.0, help="peak TFLOP/s of the accelerator")
    parser.add_argument("--terabytes", type=float, default=4.8, help="peak TB/s of its memory")
    parser.add_argument("--launch", type=float, default=5.0, help="microseconds to launch an operation")
    arguments = parser.parse_args()
    config = load_config(arguments.config, (*arguments.set, "precision=bf16", "compile=false"))
    rates = Rates(1e3 * arguments.teraflops, 1e3 * arguments.teraflops, 1e3 * arguments.terabytes)
    costs = list(costs_of(config, arguments.records))
    print(HEADER, *(cost.line(rates, arguments.launch) for cost in costs), sep="\n")
    flops = sum(cost.n_steps * cost.step.flops for cost in costs)
    limit = sum(cost.limit(rates) for cost in costs)
    launches = sum(cost.launches(arguments.launch) for cost in costs)
    n_bytes = arguments.records * 12 * round(config.preprocess.fs * config.preprocess.seconds) * 2
    print(f"\nTotal: {flops / 1e15:.2f} PFLOP, {limit:.0f} s at the limit, {launches:.0f} s of launches.")
    print(f"The signals take {n_bytes / 1e9:.2f} GB of the accelerator's memory.")


def costs_of(config: Config, n_records: int) -> Iterator[StageCost]:
    """Yield the cost of each stage."""
    largest = max(stage.batch_size for stage in config.stages)
    split = random_split(torch.device("cpu"), largest)
    labels = torch.zeros(largest, N_LABELS)
    split = replace(split, auxiliary_labels=dict.fromkeys(config.auxiliary_labels, labels))
    for index, stage in enumerate(config.stages):
        yield StageCost(stage.name, step_of(config, index, split), stage.epochs * (n_records // stage.batch_size))


def step_of(config: Config, index: int, split: Split) -> Work:
    """Count the work of one step of a stage."""
    torch.manual_seed(0)
    counts = {name: labels.shape[1] for name, labels in split.auxiliary_labels.items()}
    stage = config.stages[index]
    learner = Learner(config.build_model(split.labels.shape[1], counts), stage, config, split)
    batch = next(Batches(split, stage, (0, index)).of_epoch(0))
    learner.step(batch, Moment(0, 0, 0.5))
    return count(lambda: learner.step(batch, Moment(1, 0, 0.5)))


if __name__ == "__main__":
    main()
