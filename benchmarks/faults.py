"""Cause each fault on purpose and measure whether ecgmtl survives it: bad files, kills, a full disk, a lost server.

    python -m benchmarks.faults [--only R3 …] [--scale 0.1] [--seed 0] [--results build/faults.jsonl]

The program prints a table. Each fault runs in a process of its own, and its result is a line of the results file. A
fault that already has a line with the same scale and seed is not run again. The program needs Linux.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import NamedTuple

from benchmarks import survival
from benchmarks.survival.processes import finish, forked
from benchmarks.survival.registry import FAULTS, Trial

RESULTS = Path("build/faults.jsonl")


class Line(NamedTuple):
    """Result of a fault."""

    name: str
    scale: float
    seed: int
    cases: str
    figures: dict[str, float]
    seconds: float
    error: str = ""
    """How the process ended, if it returned no result."""

    @property
    def is_survived(self) -> bool:
        return not self.error and FAULTS[self.name].is_survived(self.figures)

    @property
    def row(self) -> str:
        """Row of the Markdown table."""
        fault = FAULTS[self.name]
        required = "<br>".join(f"{name} ≤ {most}" for name, most in fault.required.items())
        figures = {name: self.figures.get(name, float("nan")) for name in fault.required}
        values = [f"{value:,.3g} {fault.required[name].unit}".strip() for name, value in figures.items()]
        verdict = "yes" if self.is_survived else "**no**"
        measured = self.error or "<br>".join(values)
        return f"| {self.name} | {fault.what} | {self.cases} | {required} | {measured} | {verdict} |"


HEAD = "| id | fault | cases | required | measured | survived |\n|---|---|---|---|---|---|"


def load_faults() -> None:
    """Import all modules of faults, which register them."""
    for module in iter_modules(survival.__path__):
        import_module(f"{survival.__name__}.{module.name}")


def sort_key(name: str) -> tuple[str, int]:
    """Return the key that sorts R9 before R10."""
    return name.rstrip("0123456789"), int(name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))


def read(path: Path) -> list[Line]:
    """Return the lines of a results file."""
    return [Line(**json.loads(text)) for text in path.read_text().splitlines()] if path.is_file() else []


def run_here(name: str, scale: float, seed: int, shared: Path, minutes: float = math.inf) -> Line:
    """Cause one fault in this process. No kill begins after `minutes`."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=f"fault-{name}-") as folder:
        measured = FAULTS[name].run(Trial(Path(folder), scale, seed, shared, time.monotonic() + 60 * minutes))
    return Line(name, scale, seed, measured.cases, measured.figures, round(time.perf_counter() - start, 1))


def run_apart(name: str, scale: float, seed: int, shared: Path, minutes: float) -> Line:
    """Cause one fault in a fork of this process, so that imports are not repeated."""
    start, line, log = time.perf_counter(), shared / "line", shared / "log"
    log.unlink(missing_ok=True)

    def run() -> None:
        line.write_text(json.dumps(run_here(name, scale, seed, shared, minutes)._asdict()))

    code = finish(forked(run, Path.cwd(), log), math.inf).code
    if code == 0:
        return Line(**json.loads(line.read_text()))
    print(log.read_text(errors="replace"), file=sys.stderr)
    return Line(name, scale, seed, "", {}, round(time.perf_counter() - start, 1), f"ended with {code}")


def table(lines: list[Line]) -> str:
    """Return the table with the result of each fault that has the most cases."""
    largest = {line.name: line for line in sorted(lines, key=lambda line: line.scale)}
    return "\n".join([HEAD, *(largest[name].row for name in sorted(largest, key=sort_key))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="ID", help="faults to cause; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full counts")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random damages and moments")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no more kills of a fault after this many minutes"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="results file, one JSON object per line")
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}  # before torch is imported
    load_faults()
    names = arguments.only or sorted(FAULTS, key=sort_key)
    if unknown := set(names) - FAULTS.keys():
        parser.error(f"--only {' '.join(sorted(unknown))}: no such fault; there are {', '.join(FAULTS)}")
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    done = {(line.name, line.scale, line.seed) for line in read(arguments.results) if not line.error}
    todo = [name for name in names if (name, arguments.scale, arguments.seed) not in done]
    with tempfile.TemporaryDirectory(prefix="faults-") as shared:
        for name in todo:
            line = run_apart(name, arguments.scale, arguments.seed, Path(shared), arguments.minutes)
            with arguments.results.open("a") as file:
                file.write(json.dumps(line._asdict()) + "\n")
            verdict = "survived" if line.is_survived else "NOT SURVIVED"
            print(f"{name}: {verdict} in {line.seconds:g} s", file=sys.stderr)
    print(table([line for line in read(arguments.results) if line.name in names]))


if __name__ == "__main__":
    main()
