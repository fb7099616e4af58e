"""Speed of training beside a plain xresnet1d101, and how near it comes to what the machine can do; all in one run.

    python benchmarks/training.py [--quick] [--encoders cnn s4d] [--threads 2]
    python benchmarks/training.py --quick --data data/ptbxl --reach 0.88

Every way of training steps through the real batches and Learner: crops of 5 s, 64 a batch. In each round the peer makes
a step too, so that what else the machine does falls on both alike; speed is in seconds of ECG a second. On a busy
machine --processor-time with one thread gives the steadier figures.
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
"""What the way to a score is measured with: the peer learns labels alone, too."""
MARKS = {"throughput": 15.0, "both tasks": 1.6, "start-up": 60.0, "reach": 10.0}


def main() -> None:
    given = arguments()
    if given.first_step:
        return first_step(given.first_step, given.threads)
    torch.set_num_threads(given.threads)
    device = pick_device()
    clock = clock_of(device, given.processor_time)
    rates = {name: measure(dtype, device, clock) for name, dtype in DTYPES.items()}
    lines = [f"{device}, {given.threads} thread(s); measured:"]
    lines += [
        f"{name}: products {r.matmul:.0f} GFLOP/s, convolutions {r.convolution:.0f} GFLOP/s, memory {r.memory:.0f} GB/s"
        for name, r in rates.items()
    ]
    print("\n".join(lines), flush=True)
    said: list[str] = []
    if "throughput" in given.parts:
        print("\n" + HEADER, flush=True)
        said += verdicts(throughput(given, random_split(device), rates, clock))
    if "start-up" in given.parts:
        said += start_up(given.threads)
    if "reach" in given.parts and given.reach:
        said += reaching(given)
    print("\n" + "\n".join(f"- {line}" for line in said))
    return None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="*", choices=KINDS)
    parser.add_argument(
        "--quick", action="store_true", help="bf16 alone, few rounds, the default encoder if none is named"
    )
    parser.add_argument("--eager", action="store_true", help="nothing compiled")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="of ours to one of the peer's")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--data", type=Path, help="a prepared folder, for --reach")
    parser.add_argument("--reach", type=float, help="validation macro AUROC to train to, as 0.88")
    parser.add_argument("--config", type=Path, nargs="*", default=[LABELS_ALONE])
    parser.add_argument("--set", nargs="*", default=[], help="settings for these, as stages.0.epochs=5")
    parser.add_argument("--first-step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.reach and not given.data:
        parser.error("--reach needs --data, a folder that `ecgmtl data prepare` made of PTB-XL")
    return given


def ways(given: argparse.Namespace) -> Iterator[Way]:
    for encoder in given.encoders or ([DEFAULT] if given.quick else KINDS):
        for precision in ["bf16"] if given.quick else list(DTYPES):
            for compiled in (False,) if given.eager else (False, True):
                for tasks in (ONE, BOTH):
                    yield Way(encoder, tasks, precision, compiled)


def throughput(given: argparse.Namespace, split: Split, rates: dict[str, Rates], clock: Clock) -> dict[Way, Row]:
    """A row a way of training, each printed as soon as it is known; the peer's own first."""
    peer = Peer(split)
    batch = next(peer.epoch())
    peer.step(*batch)
    work = count(lambda: peer.step(*batch))
    own = Row("xresnet1d101 | one task | fp32 | eager", work, rates["fp32"], BATCH, BATCH * SECONDS)
    rounds = 3 if given.quick else given.rounds
    for _ in range(rounds):
        own.taken.append(timed(peer, clock))
    own.peer = [own.ecg_seconds / taken for taken in own.taken]
    print(own.line(), flush=True)
    rows: dict[Way, Row] = {}
    counted: dict[tuple[Any, ...], Work] = {}
    for way in ways(given):
        training = Training(way, split)
        if way[:3] not in counted:  # compiled, the same FLOPs; fewer bytes, which nobody counts
            training.step()
            counted[way[:3]] = count(training.step)
        n_records = training.stage.batch_size
        row = Row(str(way), counted[way[:3]], rates[way.precision], n_records, training.ecg_seconds)
        training.step()
        for _ in range(rounds):
            row.peer.append(own.ecg_seconds / timed(peer, clock))
            row.taken.append(timed(training, clock, given.steps))
        print(row.line(), flush=True)
        rows[way] = row
    return rows


def timed(trained: Training | Peer, clock: Clock, n_steps: int = 1) -> float:
    """Seconds a step, with the drawing of its batch."""
    begun = clock()
    for _ in range(n_steps):
        if isinstance(trained, Peer):
            trained.step(*next(trained.epoch()))
        else:
            trained.step()
    return (clock() - begun) / n_steps


def verdicts(rows: dict[Way, Row]) -> Iterator[str]:
    """What the marks say of the default encoder."""
    mine = {way: row for way, row in rows.items() if way.encoder == DEFAULT}
    single = {way: row for way, row in mine.items() if way.tasks == ONE}
    if single:
        way, best = max(single.items(), key=lambda found: found[1].over_peer)
        bound = best.over_peer / best.share
        said = (
            f"{way.encoder}, {way.precision}, {way.run}: {best.over_peer:.1f} times the peer, {bound:.1f} at full peak"
        )
        yield verdict(said, "throughput", best.over_peer, at_least=True)
    for way, row in single.items():
        dearer = median(mine[way._replace(tasks=BOTH)].taken) / median(row.taken)
        said = f"{way.encoder}, {way.precision}, {way.run}: both tasks cost {dearer:.2f} times one"
        yield verdict(said, "both tasks", dearer, at_least=False)


def verdict(said: str, mark: str, found: float, *, at_least: bool) -> str:
    met = found >= MARKS[mark] if at_least else found <= MARKS[mark]
    return f"{said}; {'within' if met else 'OUTSIDE'} the mark of {'at least' if at_least else 'at most'} {MARKS[mark]}"


def start_up(threads: int) -> list[str]:
    """From the start of a process to the end of its first step, the network compiled with an empty cache, then anew."""
    with tempfile.TemporaryDirectory() as cache:
        eager, cold, warm = (first_step_of(threads, run, cache) for run in ("eager", "compiled", "compiled"))
    told = f"start-up to the first step: {eager:.0f} s eager, {cold:.0f} s compiled, {warm:.0f} s with a warm cache"
    return [verdict(told, "start-up", warm, at_least=False)]


def first_step_of(threads: int, run: str, cache: str) -> float:
    command = [sys.executable, __file__, "--threads", str(threads), "--first-step", run]
    begun = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache})
    return time.perf_counter() - begun


def first_step(run: str, threads: int) -> None:
    torch.set_num_threads(threads)
    device = pick_device()
    Training(Way(DEFAULT, BOTH, "auto", run == "compiled"), random_split(device)).step()
    clock_of(device)()


def reaching(given: argparse.Namespace) -> Iterator[str]:
    def say(text: str) -> None:
        print("\r" + text.ljust(80), end="", file=sys.stderr, flush=True)

    courses = [ours(path, tuple(given.set), given.data, given.reach, say) for path in given.config]
    theirs = peers(given.config[0], given.data, given.reach, say)
    print(file=sys.stderr)
    yield told(theirs, given.reach)
    for course in courses:
        sooner = theirs.training / course.training
        if course.reached:
            said = f"{told(course, given.reach)}: {sooner:.1f} times sooner"
            yield verdict(said, "reach", sooner, at_least=True) + (
                "" if theirs.reached else "; the peer never got there"
            )
        else:
            yield told(course, given.reach)


def told(course: Course, target: float) -> str:
    got = f"{target} reached" if course.reached else f"{target} not reached, best {course.best:.4f}"
    return (
        f"{course.name}: {got} after {course.epochs} epochs, {course.training:.0f} s of training, "
        f"{course.whole:.0f} s in all"
    )


if __name__ == "__main__":
    main()
