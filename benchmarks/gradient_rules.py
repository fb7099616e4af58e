"""What each gradient rule, weighting and the diagnostics cost over a plain summed backward, as ratios in one run.

    python benchmarks/gradient_rules.py [--rounds 20] [--threads 1] [--encoder cnn] [--only pcgrad mgda]

Every row is a Learner of its own, with the default model, two tasks, 64 crops of 5 s, in the precision that training
has. In each round every Learner makes a step on the same batch, so that what else the machine does falls on all alike.
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

MARK = 1.7
"""What a rule may cost, in plain steps."""
PLAIN = "sum, fixed weights"
BETWEEN = {"gradnorm": GradNormSettings().every, "diagnostics": Stage.model_fields["diagnostics"].default.every}
"""Steps from one look at the gradients to the next; here they are looked at in every step."""


@dataclass
class Row:
    """A way of training, and what its steps took."""

    name: str
    learner: Learner
    probes: bool = False
    steps: list[float] = field(default_factory=list)
    """Seconds, a round each."""
    backwards: list[float] = field(default_factory=list)
    """Of these, those from the losses to the gradients."""


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    config, device = parse_config({"encoder": {"kind": given.encoder}}, "--encoder"), pick_device()
    stage = config.stages[1].model_copy(update={"weighting": FixedSettings()})
    split = random_split(device)
    batches = list(Batches(split, stage, (0, 0)).of_epoch(0))
    rows = [row for row in build_rows(config, stage, split) if not given.only or is_among(row, given.only)]
    in_bf16 = computes_in_bf16(device)
    print(f"{device}, {given.threads} thread(s), {'bf16' if in_bf16 else 'fp32'}, {given.rounds} rounds", flush=True)
    clock = clock_of(device, processor=True)  # which other work on the machine disturbs least
    watch(rows, clock)
    for number in range(-2, given.rounds):  # two rounds to warm up
        for place in range(len(rows)):
            take_step(rows[(place + number) % len(rows)], batches[number % len(batches)], number + 2, clock)
        print(f"\rround {max(number + 1, 0)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(table(rows, given.rounds))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--encoder", default="cnn")
    parser.add_argument("--only", nargs="*", help="parts of the names of rows; the plain sum is always there")
    return parser.parse_args()


def is_among(row: Row, names: list[str]) -> bool:
    return row.name == PLAIN or any(name in row.name for name in names)


def build_rows(config: Config, stage: Stage, split: Split) -> Iterator[Row]:
    """The plain sum first; then all rules with fixed weights, all weightings with the sum, the diagnostics."""
    ways: list[tuple[str, dict[str, Any]]] = [(PLAIN, {})]
    ways += [(settings().kind, {"gradients": settings()}) for settings in members(GradientRuleSettings)]
    ways += [(f"{settings().kind} weights", {"weighting": settings()}) for settings in members(WeightingSettings)]
    ways += [("gradnorm weights, norms in every step", {"weighting": GradNormSettings(every=1)})]
    ways += [("diagnostics, a probe in every step", {})]
    for name, changes in ways:
        if name in ("sum", "fixed weights"):
            continue
        torch.manual_seed(0)
        model = config.build_model(5).to(split.device)
        try:
            learner = Learner(model, stage.model_copy(update=changes), config, split)
        except ValueError as error:  # an optional package is not there
            print(f"{name} is left out: {error}")
            continue
        yield Row(name, learner, probes=name.startswith("diagnostics"))


def members(union: Any) -> tuple[type, ...]:
    return tuple(kind for kind in get_args(get_args(union)[0]) if kind is not TorchjdSettings)


def watch(rows: list[Row], clock: Clock) -> None:
    """Let each Learner's backward pass be timed apart from the whole step."""

    def timed(backward: Callable[..., torch.Tensor], taken: list[float]) -> Callable[..., torch.Tensor]:
        def run(*arguments: Any) -> torch.Tensor:
            begun = clock()
            found = backward(*arguments)
            taken.append(clock() - begun)
            return found

        return run

    for row in rows:
        row.learner.backward = timed(row.learner.backward, row.backwards)  # type: ignore[method-assign]


def take_step(row: Row, batch: Batch, number: int, clock: Clock) -> None:
    moment = Moment(number, 0, 0.5)
    begun = clock()
    step = row.learner.step(batch, moment)
    if row.probes:
        row.learner.probe(batch, moment, step.weights)
    row.steps.append(clock() - begun)


def table(rows: list[Row], rounds: int) -> str:
    """In Markdown; ratios are medians over the rounds of the ratio to the plain row's time in the same round."""
    plain = rows[0]
    lines = ["| row | a step, ms | over a plain step | its backward over a plain one | on average over all steps |"]
    lines += ["|---|--:|--:|--:|--:|"]
    worst = ("", 0.0)
    for row in rows:
        step, backward = ratio(row.steps, plain.steps, rounds), ratio(row.backwards, plain.backwards, rounds)
        between = next((every for name, every in BETWEEN.items() if name in row.name and "every" in row.name), 1)
        average = 1 + (step - 1) / between
        worst = max(worst, (row.name, average), key=lambda found: found[1])
        milliseconds = 1e3 * median(row.steps[-rounds:])
        lines.append(f"| {row.name} | {milliseconds:.0f} | {step:.2f} | {backward:.2f} | {average:.2f} |")
    said = "within" if worst[1] <= MARK else "ABOVE"
    return "\n".join([*lines, "", f"dearest: {worst[0]}, {worst[1]:.2f}; {said} the mark of {MARK}"])


def ratio(of: list[float], to: list[float], rounds: int) -> float:
    return median(one / other for one, other in zip(of[-rounds:], to[-rounds:], strict=True))


if __name__ == "__main__":
    main()
