"""Measure with torch's profiler which fraction of a training step each kind of operation takes.

    python benchmarks/shares.py [--encoders cnn leadwise] [--tasks one]

The steps are eager, in bf16, on the batches of `benchmarks/training.py`. The profiler itself takes some of the time.
"""

import argparse

import torch
from noise import random_split
from torch.profiler import ProfilerActivity, profile
from ways import BOTH, ONE, Training, Way

TASKS = {"one": ONE, "both": BOTH}
KINDS = {
    "convolutions": ("convolution",),
    "batch normalization": ("batch_norm",),
    "pooling": ("pool",),
    "matrix products": ("mm", "linear"),
    "optimizer": ("fused_adam", "foreach"),
}
OTHER = "other"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="*", default=["cnn", "leadwise"])
    parser.add_argument("--tasks", choices=TASKS, default="one")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    split = random_split(torch.device("cpu"))
    names = [*KINDS, OTHER]
    print(f"| encoder | ms per step | {' | '.join(names)} |\n|---|--:|{'--:|' * len(names)}")
    for encoder in arguments.encoders:
        taken = spent(Training(Way(encoder, TASKS[arguments.tasks], "bf16", compiled=False), split), arguments.steps)
        total = sum(taken.values())
        shares = " | ".join(f"{taken[name] / total:.0%}" for name in names)
        print(f"| {encoder} | {1e3 * total / arguments.steps:.0f} | {shares} |", flush=True)


def spent(training: Training, n_steps: int) -> dict[str, float]:
    """Return the seconds that each kind of operation takes."""
    for _ in range(3):
        training.step()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(n_steps):
            training.step()
    times = dict.fromkeys([*KINDS, OTHER], 0.0)
    for event in profiled.key_averages():
        times[kind_of(event.key)] += 1e-6 * event.self_cpu_time_total
    return times


def kind_of(operation: str) -> str:
    """Return the kind of a torch operation."""
    name = operation.removeprefix("aten::").lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), OTHER)


if __name__ == "__main__":
    main()
