"""What the forest beside a network takes: to grow, and of each prediction, beside what the network takes.

    python benchmarks/forest.py --data data/ptbxl [--config configs/ptbxl.yaml] [--labels all]

The limit is memory: a measurement is a sum, a highest or a lowest value, and computes next to nothing. "Read once" is
what the signals themselves take at the rate of a copy, "as written" all that the operations read and write.
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
    parser.add_argument("--data", type=Path, required=True, help="a folder that `ecgmtl data prepare` made")
    parser.add_argument("--config", type=Path, default=Path("configs/ptbxl.yaml"))
    parser.add_argument("--labels")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = load_config(given.config, (f"labels={given.labels}",) if given.labels else ())
    train, validation = splits(config, given.data)
    if config.forest is None:
        raise SystemExit(f"{given.config}: no forest in it")

    started = perf_counter()
    measured = measure_kinds(train.select(train.labeled))
    measuring = perf_counter() - started
    started = perf_counter()
    forest = grow_forest(config.forest, train, 0)
    growing = perf_counter() - started
    n_kinds, n_labels, n_trees, _ = forest.value.shape
    print(
        f"{growing:.1f} s to grow {n_kinds} times {n_trees} trees for each of {n_labels} labels "
        f"on {len(measured['kept'])} records, of which measuring takes {measuring:.1f} s; "
        f"{n_mb(forest):.1f} MB of a model"
    )
    predictions(config.build_model(n_labels).eval(), forest, validation.batch(torch.arange(BATCH)).signals)


@torch.no_grad()
def predictions(model: torch.nn.Module, forest: Forest, signals: torch.Tensor) -> None:
    times = {
        "network": seconds(lambda: model.classify(signals), perf_counter),
        "measuring": seconds(lambda: measure_waves(signals, None, forest.fs), perf_counter),
        "measuring and trees": seconds(lambda: forest(signals), perf_counter),
    }
    rate = 1e9 * measure(torch.float32, signals.device, perf_counter).memory
    times["limit of measuring, read once"] = signals.numel() * signals.element_size() / rate
    times["limit of measuring, as written"] = count(lambda: measure_waves(signals, None, forest.fs)).n_bytes / rate
    print(f"Of each prediction, in batches of {len(signals)}:\n\n| | us a record | of the network's |\n|---|--:|--:|")
    for name, taken in times.items():
        print(f"| {name} | {1e6 * taken / len(signals):.0f} | {taken / times['network']:.2f} |")


def n_mb(forest: Forest) -> float:
    return 1e-6 * sum(tensor.numel() * tensor.element_size() for tensor in forest.buffers())


if __name__ == "__main__":
    main()
