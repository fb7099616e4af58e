"""Measure the cost of each gradient rule, each weighting and the diagnostics, relative to a plain sum of the losses.

    python benchmarks/gradient_rules.py [--rounds 20] [--threads 1] [--encoder cnn] [--only pcgrad mgda]

Each row of the table is a `Learner` with the default model, two tasks and 64 crops of 5 s, in the precision of
training. In each round, every `Learner` takes a step on the same batch, so that other load on the machine affects all
of them.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any, get_args

import torch
from machine import Clock, clock_of
from noise import random_split

from ecgmtl.config.run import Config, parse_config
from ecgmtl.config.stage import Stage
from ecgmtl.data.batch import Batch
from ecgmtl.data.split import Split
from ecgmtl.device import computes_in_bf16, pick_device
from ecgmtl.optimization.gradient_rules import GradientRuleSettings
from ecgmtl.optimization.gradient_rules.torchjd import TorchjdSettings
from ecgmtl.optimization.weighting import Moment, WeightingSettings
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.optimization.weighting.gradnorm import GradNormSettings
from ecgmtl.training.batches import Batches
from ecgmtl.training.step import Learner

LIMIT = 1.7
"""Largest acceptable cost of a step, relative to a plain step."""
PLAIN = "sum, fixed weights"
BETWEEN = {"gradnorm": GradNormSettings().every, "diagnostics": Stage.model_fields["diagnostics"].default.every}
"""Number of steps between two evaluations of the gradients in training. Here, each step evaluates them."""


@dataclass
class Row:
    """A way of training, and the times of its steps."""

    name: str
    learner: Learner
    probes: bool = False
    steps: list[float] = field(default_factory=list)
    """Seconds of each round's step."""
    backwards: list[float] = field(default_factory=list)
    """Seconds of each round's backward pass, from the losses to the gradients."""


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    config, device = parse_config({"encoder": {"kind": options.encoder}}, "--encoder"), pick_device()
    stage = config.stages[1].model_copy(update={"weighting": FixedSettings()})
    split = random_split(device)
    batches = list(Batches(split, stage, (0, 0)).of_epoch(0))
    rows = [row for row in build_rows(config, stage, split) if not options.only or is_among(row, options.only)]
    in_bf16 = computes_in_bf16(device)
    print(
        f"{device}, {options.threads} thread(s), {'bf16' if in_bf16 else 'fp32'}, {options.rounds} rounds", flush=True
    )
    clock = clock_of(device, processor=True)  # processor time depends least on other load
    watch(rows, clock)
    for number in range(-2, options.rounds):  # two rounds to warm up
        for index in range(len(rows)):
            take_step(rows[(index + number) % len(rows)], batches[number % len(batches)], number + 2, clock)
        print(f"\rround {max(number + 1, 0)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(table(rows, options.rounds))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--encoder", default="cnn")
    parser.add_argument(
        "--only",
        nargs="*",
        help="measure rows whose names contain one of these words; the plain sum is always measured",
    )
    return parser.parse_args()


def is_among(row: Row, names: list[str]) -> bool:
    return row.name == PLAIN or any(name in row.name for name in names)


def build_rows(config: Config, stage: Stage, split: Split) -> Iterator[Row]:
    """Yield the plain sum, then all rules with fixed weights, all weightings with the sum, and the diagnostics."""
    ways: list[tuple[str, dict[str, Any]]] = [(PLAIN, {})]
    ways += [(settings().kind, {"gradients": settings()}) for settings in members(GradientRuleSettings)]
    ways += [(f"{settings().kind} weights", {"weighting": settings()}) for settings in members(WeightingSettings)]
    ways += [("gradnorm weights, norms every step", {"weighting": GradNormSettings(every=1)})]
    ways += [("diagnostics, every step", {})]
    for name, changes in ways:
        if name in ("sum", "fixed weights"):
            continue
        torch.manual_seed(0)
        model = config.build_model(5).to(split.device)
        try:
            learner = Learner(model, stage.model_copy(update=changes), config, split)
        except ValueError as error:  # an optional package is not installed
            print(f"{name} is skipped: {error}")
            continue
        yield Row(name, learner, probes=name.startswith("diagnostics"))


def members(union: Any) -> tuple[type, ...]:
    return tuple(kind for kind in get_args(get_args(union)[0]) if kind is not TorchjdSettings)


def watch(rows: list[Row], clock: Clock) -> None:
    """Time the backward pass of each `Learner` separately from its whole step."""

    def timed(backward: Callable[..., torch.Tensor], taken: list[float]) -> Callable[..., torch.Tensor]:
        def run(*arguments: Any) -> torch.Tensor:
            begun = clock()
            result = backward(*arguments)
            taken.append(clock() - begun)
            return result

        return run

    for row in rows:
        row.learner.backward = timed(row.learner.backward, row.backwards)  # type: ignore[method-assign]


def take_step(row: Row, batch: Batch, number: int, clock: Clock) -> None:
    """Take one step and record its time."""
    moment = Moment(number, 0, 0.5)
    begun = clock()
    step = row.learner.step(batch, moment)
    if row.probes:
        row.learner.probe(batch, moment, step.weights)
    row.steps.append(clock() - begun)


def table(rows: list[Row], rounds: int) -> str:
    """Return the Markdown table. Ratios are to the plain row in the same round, and medians over the rounds."""
    plain = rows[0]
    lines = ["| row | ms per step | step / plain step | backward / plain backward | average step / plain step |"]
    lines += ["|---|--:|--:|--:|--:|"]
    worst = ("", 0.0)
    for row in rows:
        step, backward = ratio(row.steps, plain.steps, rounds), ratio(row.backwards, plain.backwards, rounds)
        between = next((every for name, every in BETWEEN.items() if name in row.name and "every" in row.name), 1)
        average = 1 + (step - 1) / between
        worst = max(worst, (row.name, average), key=lambda pair: pair[1])
        milliseconds = 1e3 * median(row.steps[-rounds:])
        lines.append(f"| {row.name} | {milliseconds:.0f} | {step:.2f} | {backward:.2f} | {average:.2f} |")
    verdict = "within" if worst[1] <= LIMIT else "ABOVE"
    return "\n".join([*lines, "", f"most expensive: {worst[0]}, {worst[1]:.2f}; {verdict} the limit of {LIMIT}"])


def ratio(times: list[float], reference: list[float], rounds: int) -> float:
    """Return the median over the last rounds of the ratio of two times."""
    return median(one / other for one, other in zip(times[-rounds:], reference[-rounds:], strict=True))


if __name__ == "__main__":
    main()
