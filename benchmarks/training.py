"""Measure the speed of training relative to a plain xresnet1d101, and to the peak rates of the machine.

    python benchmarks/training.py [--quick] [--encoders cnn s4d] [--threads 2]
    python benchmarks/training.py --quick --data data/ptbxl --reach 0.88

Each row of the table is a way of training: an encoder, one task or both, a precision, eager or compiled. It uses the
batches and the `Learner` of `ecgmtl train`, with 64 crops of 5 s per batch. In each round the peer takes a step, too,
so that other load on the machine affects both. Speed is given in seconds of ECG per second. On a busy machine,
--processor-time with one thread varies least.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, get_args

import torch
from machine import Clock, Rates, Work, clock_of, count, measure
from noise import random_split
from peer import BATCH, SECONDS, Peer
from reach import Course, ours, peers
from ways import BOTH, HEADER, ONE, Row, Training, Way

from ecgmtl.config.run import Config
from ecgmtl.data.split import Split
from ecgmtl.device import pick_device
from ecgmtl.model.encoders import EncoderSettings

DEFAULT = Config().encoder.kind
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
KINDS = [kind().kind for kind in get_args(get_args(EncoderSettings)[0])]
PARTS = ("throughput", "start-up", "reach")
LABELS_ALONE = Path(__file__).parent.parent / "configs/recipes/_base.yaml"
"""Config of --reach. It trains on labels alone, as the peer does."""
TARGETS = {"throughput": 15.0, "both tasks": 1.6, "start-up": 60.0, "reach": 10.0}


def main() -> None:
    arguments = parse_arguments()
    if arguments.first_step:
        return first_step(arguments.first_step, arguments.threads)
    torch.set_num_threads(arguments.threads)
    device = pick_device()
    clock = clock_of(device, arguments.processor_time)
    rates = {name: measure(dtype, device, clock) for name, dtype in DTYPES.items()}
    lines = [f"{device}, {arguments.threads} thread(s); measured:"]
    lines += [
        f"{name}: matrix products {rate.matmul:.0f} GFLOP/s, convolutions {rate.convolution:.0f} GFLOP/s, "
        f"memory {rate.memory:.0f} GB/s"
        for name, rate in rates.items()
    ]
    print("\n".join(lines), flush=True)
    results: list[str] = []
    if "throughput" in arguments.parts:
        print("\n" + HEADER, flush=True)
        results += verdicts(throughput(arguments, random_split(device), rates, clock))
    if "start-up" in arguments.parts:
        results += start_up(arguments.threads)
    if "reach" in arguments.parts and arguments.reach:
        results += compare_courses(arguments)
    print("\n" + "\n".join(f"- {line}" for line in results))
    return None


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="*", choices=KINDS)
    parser.add_argument(
        "--quick", action="store_true", help="only bf16 and few rounds; the default encoder unless --encoders is used"
    )
    parser.add_argument("--eager", action="store_true", help="skip compiled training")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="steps of ecgmtl for each step of the peer")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--processor-time", action="store_true", help="measure processor time instead of the wall clock"
    )
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--data", type=Path, help="prepared folder, for --reach")
    parser.add_argument(
        "--reach", type=float, help="train until this macro AUROC on the validation split, such as 0.88"
    )
    parser.add_argument("--config", type=Path, nargs="*", default=[LABELS_ALONE], help="configs to train with --reach")
    parser.add_argument("--set", nargs="*", default=[], help="settings to change in them, such as stages.0.epochs=5")
    parser.add_argument("--first-step", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reach and not arguments.data:
        parser.error("--reach needs --data, a folder that `ecgmtl data prepare` wrote from PTB-XL")
    return arguments


def ways(arguments: argparse.Namespace) -> Iterator[Way]:
    """Yield the ways of training to measure."""
    for encoder in arguments.encoders or ([DEFAULT] if arguments.quick else KINDS):
        for precision in ["bf16"] if arguments.quick else list(DTYPES):
            for compiled in (False,) if arguments.eager else (False, True):
                for tasks in (ONE, BOTH):
                    yield Way(encoder, tasks, precision, compiled)


def throughput(arguments: argparse.Namespace, split: Split, rates: dict[str, Rates], clock: Clock) -> dict[Way, Row]:
    """Return a row for each way of training. Print the peer's row and then each of these as soon as it is measured."""
    peer = Peer(split)
    batch = next(peer.epoch())
    peer.step(*batch)
    work = count(lambda: peer.step(*batch))
    own = Row("xresnet1d101 | one task | fp32 | eager", work, rates["fp32"], BATCH, BATCH * SECONDS)
    rounds = 3 if arguments.quick else arguments.rounds
    for _ in range(rounds):
        own.taken.append(timed(peer, clock))
    own.peer = [own.ecg_seconds / taken for taken in own.taken]
    print(own.line(), flush=True)
    rows: dict[Way, Row] = {}
    counted: dict[tuple[Any, ...], Work] = {}
    for way in ways(arguments):
        training = Training(way, split)
        if way[:3] not in counted:  # a compiled step has the same FLOPs; its fewer bytes are not counted
            training.step()
            counted[way[:3]] = count(training.step)
        n_records = training.stage.batch_size
        row = Row(str(way), counted[way[:3]], rates[way.precision], n_records, training.ecg_seconds)
        training.step()
        for _ in range(rounds):
            row.peer.append(own.ecg_seconds / timed(peer, clock))
            row.taken.append(timed(training, clock, arguments.steps))
        print(row.line(), flush=True)
        rows[way] = row
    return rows


def timed(trained: Training | Peer, clock: Clock, n_steps: int = 1) -> float:
    """Return the seconds per step, including the sampling of its batch."""
    begun = clock()
    for _ in range(n_steps):
        if isinstance(trained, Peer):
            trained.step(*next(trained.epoch()))
        else:
            trained.step()
    return (clock() - begun) / n_steps


def verdicts(rows: dict[Way, Row]) -> Iterator[str]:
    """Yield whether the default encoder meets the targets."""
    default = {way: row for way, row in rows.items() if way.encoder == DEFAULT}
    single = {way: row for way, row in default.items() if way.tasks == ONE}
    if single:
        way, best = max(single.items(), key=lambda pair: pair[1].over_peer)
        bound = best.over_peer / best.share
        result = f"{way.encoder}, {way.precision}, {way.run}: {best.over_peer:.1f} times the peer"
        yield verdict(f"{result} ({bound:.1f} at the machine's peak)", "throughput", best.over_peer, at_least=True)
    for way, row in single.items():
        ratio = median(default[way._replace(tasks=BOTH)].taken) / median(row.taken)
        result = f"{way.encoder}, {way.precision}, {way.run}: both tasks take {ratio:.2f} times as long as one"
        yield verdict(result, "both tasks", ratio, at_least=False)


def verdict(result: str, target: str, value: float, *, at_least: bool) -> str:
    """Return a result with whether it meets its target."""
    bound = TARGETS[target]
    is_met = value >= bound if at_least else value <= bound
    return f"{result}; {'meets' if is_met else 'MISSES'} the target of {'at least' if at_least else 'at most'} {bound}"


def start_up(threads: int) -> list[str]:
    """Measure the time from the start of a process to the end of its first step.

    The network is eager, then compiled with an empty cache, and then compiled with the cache of that run.
    """
    with tempfile.TemporaryDirectory() as cache:
        eager, cold, warm = (first_step_of(threads, run, cache) for run in ("eager", "compiled", "compiled"))
    times = f"{eager:.0f} s eager, {cold:.0f} s compiled, {warm:.0f} s compiled with a warm cache"
    return [verdict(f"startup to the end of the first step: {times}", "start-up", warm, at_least=False)]


def first_step_of(threads: int, run: str, cache: str) -> float:
    """Return the seconds of a new process that takes one step."""
    command = [sys.executable, __file__, "--threads", str(threads), "--first-step", run]
    begun = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache})
    return time.perf_counter() - begun


def first_step(run: str, threads: int) -> None:
    """Take one step in this process."""
    torch.set_num_threads(threads)
    device = pick_device()
    Training(Way(DEFAULT, BOTH, "auto", run == "compiled"), random_split(device)).step()
    clock_of(device)()


def compare_courses(arguments: argparse.Namespace) -> Iterator[str]:
    """Train each config and the peer to the target score, and yield how long each took."""

    def say(text: str) -> None:
        print("\r" + text.ljust(80), end="", file=sys.stderr, flush=True)

    courses = [ours(path, tuple(arguments.set), arguments.data, arguments.reach, say) for path in arguments.config]
    theirs = peers(arguments.config[0], arguments.data, arguments.reach, say)
    print(file=sys.stderr)
    yield describe(theirs, arguments.reach)
    for course in courses:
        ratio = theirs.training / course.training
        if course.reached:
            result = f"{describe(course, arguments.reach)}: {ratio:.1f} times as fast as the peer"
            yield verdict(result, "reach", ratio, at_least=True) + (
                "" if theirs.reached else "; the peer did not reach the score"
            )
        else:
            yield describe(course, arguments.reach)


def describe(course: Course, target: float) -> str:
    """Return a line about a training run."""
    outcome = f"{target} reached" if course.reached else f"{target} not reached, best {course.best:.4f},"
    return (
        f"{course.name}: {outcome} after {course.epochs} epochs, {course.training:.0f} s of training, "
        f"{course.whole:.0f} s in total"
    )


if __name__ == "__main__":
    main()
