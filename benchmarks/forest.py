"""Measure what the boosted trees beside a network cost, in training and in each prediction, relative to the network.

    python benchmarks/forest.py --data data/ptbxl [--config configs/ptbxl.yaml] [--labels all]

Memory bandwidth limits the measurements: each is a sum, a maximum or a minimum, with hardly any arithmetic. "Signals
read once" is the time to read the signals at the rate of a memory copy. "Each operation reads and writes" is the time
for all bytes that the operations read and write.
"""

import argparse
from pathlib import Path
from time import perf_counter

import torch
from machine import count, measure, seconds
from reach import splits

from ecgmtl.config.run import load_config
from ecgmtl.model.forest.forest import Forest
from ecgmtl.model.forest.grow import grow_forest, measure_kinds
from ecgmtl.model.forest.measurements import measure as measure_waves

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that `ecgmtl data prepare` wrote")
    parser.add_argument("--config", type=Path, default=Path("configs/ptbxl.yaml"))
    parser.add_argument("--labels", help="label set; that of the config by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = load_config(arguments.config, (f"labels={arguments.labels}",) if arguments.labels else ())
    train, validation = splits(config, arguments.data)
    if config.forest is None:
        raise SystemExit(f"{arguments.config}: has no forest; use a config that has one, such as configs/ptbxl.yaml")

    started = perf_counter()
    measured = measure_kinds(train.select(train.labeled))
    measuring = perf_counter() - started
    started = perf_counter()
    forest = grow_forest(config.forest, train, 0)
    growing = perf_counter() - started
    n_kinds, n_labels, n_trees, _ = forest.value.shape
    print(
        f"{growing:.1f} s to train {n_kinds} sets of {n_trees} trees for each of {n_labels} labels "
        f"on {len(measured['kept'])} records, of which {measuring:.1f} s to measure the records; "
        f"the trees take {n_mb(forest):.1f} MB of a model"
    )
    print_predictions(config.build_model(n_labels).eval(), forest, validation.batch(torch.arange(BATCH)).signals)


@torch.no_grad()
def print_predictions(model: torch.nn.Module, forest: Forest, signals: torch.Tensor) -> None:
    """Print the time of each part of a prediction."""
    times = {
        "network": seconds(lambda: model.classify(signals), perf_counter),
        "measuring": seconds(lambda: measure_waves(signals, None, forest.fs), perf_counter),
        "measuring and trees": seconds(lambda: forest(signals), perf_counter),
    }
    rate = 1e9 * measure(torch.float32, signals.device, perf_counter).memory
    times["lower bound for measuring, signals read once"] = signals.numel() * signals.element_size() / rate
    n_bytes = count(lambda: measure_waves(signals, None, forest.fs)).n_bytes
    times["lower bound for measuring, each operation reads and writes"] = n_bytes / rate
    print(f"Prediction in batches of {len(signals)}:\n\n| | µs per record | relative to the network |\n|---|--:|--:|")
    for name, taken in times.items():
        print(f"| {name} | {1e6 * taken / len(signals):.0f} | {taken / times['network']:.2f} |")


def n_mb(forest: Forest) -> float:
    """Return the size of the trees in MB."""
    return 1e-6 * sum(tensor.numel() * tensor.element_size() for tensor in forest.buffers())


if __name__ == "__main__":
    main()
