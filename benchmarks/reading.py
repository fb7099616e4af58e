"""Measure the speed of reading and preprocessing records, relative to a plain loop of wfdb.rdsamp.

    python benchmarks/reading.py [FOLDER] [--records N] [--suffix _lr]

The loops take turns on blocks of records, so that other load on the machine affects all of them.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import wfdb

from data_prep import Preprocess, find_records, read_record

BLOCK = 100
PTBXL = 21_799


def read_only(path: Path) -> None:
    """Read a record with this project's reader."""
    read_record(path)


def read_and_preprocess(path: Path) -> None:
    """Read and preprocess a record, as `data prepare` and `predict` do."""
    Preprocess()(read_record(path))


def rdsamp(path: Path) -> None:
    """Read a record with `wfdb`, without checks or preprocessing."""
    wfdb.rdsamp(str(path.with_suffix("")))


def seconds(step: Callable[[Path], None], paths: Sequence[Path]) -> float:
    """Return the seconds that `step` takes over all paths."""
    start = time.perf_counter()
    for path in paths:
        step(path)
    return time.perf_counter() - start


def run_block(paths: Sequence[Path]) -> int:
    """Read and preprocess a block in a worker process. Return its number of records."""
    seconds(read_and_preprocess, paths)
    return len(paths)


def main() -> None:
    """Measure and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="../shared/data/ptbxl-sample")
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--suffix", default="_lr", help="read only records whose names end with this; '' reads all")
    arguments = parser.parse_args()
    named = (path for path in find_records([arguments.folder]) if path.stem.endswith(arguments.suffix))
    paths = list(islice((path for path in named if path.suffix == ".hea"), arguments.records))
    blocks = [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)]

    steps = (read_only, read_and_preprocess, rdsamp)
    for step in steps:  # the first reading fills the disk cache
        seconds(step, paths)
    spent = dict.fromkeys(steps, 0.0)
    for block in blocks:
        for step in steps:
            spent[step] += seconds(step, block)
    with ProcessPoolExecutor(2) as workers:
        list(workers.map(run_block, blocks[:2]))
        start = time.perf_counter()
        list(workers.map(run_block, blocks))
        parallel = time.perf_counter() - start

    print(f"{len(paths)} records of {arguments.folder}")
    for step in steps:
        print(f"{step.__name__:20} {1e3 * spent[step] / len(paths):7.3f} ms per record")
    print(f"wfdb.rdsamp / read_only            {spent[rdsamp] / spent[read_only]:6.1f}")
    print(f"wfdb.rdsamp / read_and_preprocess  {spent[rdsamp] / spent[read_and_preprocess]:6.1f}")
    print(f"{PTBXL} such records, two processes: {parallel / len(paths) * PTBXL:.1f} s")


if __name__ == "__main__":
    main()
