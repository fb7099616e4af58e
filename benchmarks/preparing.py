"""Measure the time of `ecgmtl data prepare` and of a plain loop of wfdb.rdsamp over the same records.

    python benchmarks/preparing.py PTBXL_FOLDER [--workers 2]

If the folder is a sample of PTB-XL, links repeat its records up to the full number, so that the time of `prepare` is
measured rather than extrapolated. The plain loop reads some of the records, and its time is scaled to all of them.
"""

import argparse
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import pandas as pd
import wfdb

from data_prep.preprocess import Preprocess
from data_prep.sources.ptbxl import DATABASE, STATEMENTS
from data_prep.store.prepare import prepare

PUBLISHED = 21_799
"""Number of records in PTB-XL 1.0.3."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--plain", type=int, default=300, help="number of records that the plain loop reads")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        source = full_size(arguments.folder.resolve(), Path(temporary) / "source")
        names = pd.read_csv(source / DATABASE)["filename_lr"]
        plain = names.iloc[:: max(1, len(names) // arguments.plain)][: arguments.plain]
        before = cost(read_plainly, source, plain)
        whole = cost(prepare_all, source, Path(temporary) / "store", arguments.workers)
        after = cost(read_plainly, source, plain)
    scale = len(names) / len(plain) / 2
    loop = Cost(*(round(scale * (one + other), 1) for one, other in zip(before, after, strict=True)))
    figures = {
        "records": len(names),
        "workers": arguments.workers,
        "processors": os.cpu_count(),
        "prepare": whole._asdict(),
        "rdsamp_loop": loop._asdict(),
        "times_faster": round(loop.seconds / whole.seconds, 1),
        "times_less_processor_time": round(loop.processor_seconds / whole.processor_seconds, 1),
    }
    print(json.dumps(figures, indent=1))


class Cost(NamedTuple):
    """Time of a call. On a busy machine, the processor time varies less than the seconds of the wall clock."""

    seconds: float
    processor_seconds: float


def cost(function: Callable[..., None], *arguments: object) -> Cost:
    """Return the time of a call."""
    begun, before = perf_counter(), os.times()
    function(*arguments)
    return Cost(round(perf_counter() - begun, 2), round(sum(os.times()[:4]) - sum(before[:4]), 2))


def full_size(folder: Path, source: Path) -> Path:
    """Make a PTB-XL folder with the published number of records, by repeating the records of `folder`."""
    table = pd.read_csv(folder / DATABASE)
    n_copies = math.ceil(PUBLISHED / len(table))
    source.mkdir()
    shutil.copyfile(folder / STATEMENTS, source / STATEMENTS)
    for copy in range(n_copies):
        (source / f"copy{copy}").symlink_to(folder)
    copies = [table.assign(filename_lr=f"copy{copy}/" + table["filename_lr"]) for copy in range(n_copies)]
    full = pd.concat(copies).iloc[:PUBLISHED]
    full.assign(ecg_id=range(1, len(full) + 1)).to_csv(source / DATABASE, index=False)
    return source


def prepare_all(source: Path, out: Path, workers: int) -> None:
    """Prepare all records as `ecgmtl data prepare` does."""
    report = prepare(source, out, Preprocess(fs=100), workers=workers)
    if report.failures:
        raise SystemExit(f"{len(report.failures)} records could not be prepared; the first: {report.failures[0]}")


def read_plainly(source: Path, names: pd.Series) -> None:
    """Read records with `wfdb`, without checks."""
    for name in names:
        wfdb.rdsamp(str(source / name))


if __name__ == "__main__":
    main()
