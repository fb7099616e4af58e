"""Commands that are killed again and again until they are done. Nothing may be lost, duplicated or half written."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.survival.processes import ROOT, command, finish, forked, killed_within
from benchmarks.survival.registry import Measured, Most, Trial, fault
from data_prep.preprocess import Preprocess
from data_prep.sources import download as downloading
from data_prep.sources.download import CHECKSUMS
from data_prep.store.prepare import prepare
from data_prep.synthetic.folder import write_ptbxl
from tests.comparisons import ARM_FILES
from tests.folders import ecg, write_record
from tests.publisher import Publisher


class Kills(NamedTuple):
    """Number of kills until a command was done, and its last exit code."""

    n_kills: int
    code: int


def kill_until_done(
    start: Callable[[], int], longest: float, budget: int, chance: random.Random, look: Callable[[], None]
) -> Kills:
    """Start and kill a command at most `budget` times, and call `look` after each kill. Then let the command finish."""
    for n_kills in range(budget):
        process = start()
        if not killed_within(process, chance.uniform(0, longest) * chance.choice((0.3, 1.0))):
            return Kills(n_kills, 0)
        look()
    return Kills(budget, finish(start()).code)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files in a folder except its lock."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@fault(
    "S1",
    "kill -9 at random moments of `data prepare`, which is repeated until it is done",
    {"incomplete stores that open without an error": Most(0), "stores that differ from an uninterrupted one": Most(0)},
)
def kill_preparing(trial: Trial) -> Measured:
    from data_prep.store.manifest import StoreError
    from data_prep.store.open import open_store

    source, wanted = trial.folder / "records", trial.count(200)
    write_ptbxl(source, 400, seed=trial.seed)
    prepare(source, trial.folder / "whole", Preprocess(), "superdiagnostic", workers=1)
    whole = contents(trial.folder / "whole")
    words = ("--labels", "superdiagnostic", "--workers", 1)
    done = half = different = n_runs = 0
    import ecgmtl.cli.data  # noqa: F401, forked processes need not

    def look() -> None:
        nonlocal half
        try:
            open_store(trial.folder / "store")
        except StoreError:
            return
        half += contents(trial.folder / "store") != whole

    while done < wanted and not (trial.is_over and n_runs):
        shutil.rmtree(trial.folder / "store", ignore_errors=True)

        def start() -> int:
            arguments = ("data", "prepare", source, trial.folder / "store", *words)
            return forked(command(*arguments), trial.folder, trial.folder / "log")

        done += kill_until_done(start, 1.5, wanted - done, trial.chance_of(n_runs), look).n_kills
        different += contents(trial.folder / "store") != whole
        n_runs += 1
    return Measured(
        f"{done} kills of {n_runs} preparations of 400 records",
        {
            "incomplete stores that open without an error": half,
            "stores that differ from an uninterrupted one": different,
        },
    )


def kill_predicting(trial: Trial, suffix: str) -> Measured:
    """Kill `predict` while it writes a table with this suffix."""
    rng, wanted, n_records = np.random.default_rng(trial.seed), trial.count(200), 24
    records = trial.folder / "records"
    for number in range(n_records):
        write_record(records / f"r{number:02d}", ecg(rng))
    (records / "r05.dat").write_bytes(b"cut off")
    from ecgmtl.inference import onnx_predictor, parts  # noqa: F401, forked processes need not

    out = trial.folder / f"p{suffix}"

    def run(folder: Path = trial.folder) -> int:
        def predict() -> None:
            parts.FILES_A_PART = 2
            command("predict", records, "--out", folder / out.name, "--batch", 2, "--workers", 1)()

        return forked(predict, folder, trial.folder / "log")

    (trial.folder / "whole").mkdir()
    whole_run = finish(run(trial.folder / "whole"))
    whole = rows_of(trial.folder / "whole" / out.name)
    done = early = different = left = n_runs = 0

    def look() -> None:
        nonlocal early
        early += out.exists() and rows_of(out) != whole

    while done < wanted and not (trial.is_over and n_runs):
        done += kill_until_done(run, 1.2 * whole_run.seconds, wanted - done, trial.chance_of(n_runs), look).n_kills
        different += rows_of(out) != whole
        out.unlink()
        left += len(
            [path for path in trial.folder.iterdir() if path.name.startswith(f".{out.name}") or "partial" in path.name]
        )
        n_runs += 1
    return Measured(
        f"{done} kills of {n_runs} tables of {n_records} records",
        {
            "incomplete tables under their final names": early,
            "tables that differ from an uninterrupted one": different,
            "partial files left": left,
        },
    )


def rows_of(table: Path) -> list[dict[str, object]]:
    """Return the rows of a table of predictions as text."""
    if table.suffix == ".parquet":
        return json.loads(pd.read_parquet(table).to_json(orient="records", double_precision=15))
    if table.suffix == ".jsonl":
        return [json.loads(line) for line in table.read_text().splitlines()]
    return json.loads(pd.read_csv(table, dtype=str).to_json(orient="records"))


TABLES = {
    "incomplete tables under their final names": Most(0),
    "tables that differ from an uninterrupted one": Most(0),
    "partial files left": Most(0),
}


@fault("S2", "kill -9 at random moments of `predict` into CSV", TABLES)
def kill_csv(trial: Trial) -> Measured:
    return kill_predicting(trial, ".csv")


@fault("S3", "kill -9 at random moments of `predict` into Parquet", TABLES)
def kill_parquet(trial: Trial) -> Measured:
    return kill_predicting(trial, ".parquet")


@fault("S4", "kill -9 at random moments of `predict` into JSON Lines", TABLES)
def kill_json_lines(trial: Trial) -> Measured:
    return kill_predicting(trial, ".jsonl")


@fault(
    "S5",
    "kill -9 at random moments of `compare`, which is repeated until it is done",
    {"results that differ from an uninterrupted comparison's": Most(0), "exit codes other than 0": Most(0)},
)
def kill_comparing(trial: Trial) -> Measured:
    from benchmarks.survival.training import import_all

    folder, wanted = trial.folder, trial.count(50)
    write_ptbxl(folder / "records", 100, seed=0)
    prepare(folder / "records", folder / "store", Preprocess(), "superdiagnostic", workers=1)
    (folder / "arms").mkdir()
    for name in ("_base", "single", "joint"):
        (folder / f"arms/{name}.yaml").write_text(ARM_FILES[name])
    import_all()
    import ecgmtl.cli.compare
    import ecgmtl.comparison.compare  # noqa: F401

    def run(out: str = "out") -> int:
        words = ("--data", "store", "--out", out, "--seeds", 2, "--jobs", 1, "--no-track")

        def compare() -> None:
            os.cpu_count = lambda: 1  # type: ignore[assignment]  # runs of one thread have the same sums
            command("compare", "arms", *words)()

        return forked(compare, folder, folder / "log")

    whole_run = finish(run("whole"))
    whole = results_of(folder / "whole")
    done = different = codes = n_runs = 0
    while done < wanted and not (trial.is_over and n_runs):
        kills = kill_until_done(run, 1.2 * whole_run.seconds, wanted - done, trial.chance_of(n_runs), lambda: None)
        done, codes, n_runs = done + kills.n_kills, codes + bool(kills.code), n_runs + 1
        different += results_of(folder / "out") != whole
        shutil.rmtree(folder / "out")
    return Measured(
        f"{done} kills of {n_runs} comparisons of 2 arms with 2 seeds",
        {"results that differ from an uninterrupted comparison's": different, "exit codes other than 0": codes},
    )


def results_of(out: Path) -> dict[str, object]:
    """Return the results of a comparison, without the seconds that they took."""
    trees = {path.name: json.loads(path.read_text()) for path in (out / "results").rglob("*.json")}
    for tree in trees.values():
        for point in tree["curve"]:
            del point["seconds"]
    return trees


@fault(
    "S6",
    "kill -9 at random moments of `data download` from a server on this machine",
    {"incomplete files under their final names": Most(0), "downloads that differ from the publisher's": Most(0)},
)
def kill_downloading(trial: Trial) -> Measured:
    published, wanted = trial.folder / "publisher", trial.count(50)
    write_ptbxl(published, 20, 0, fs=100)
    server = Publisher(published)
    server.write_list()
    server.pause = 0.02
    Thread(target=server.serve_forever, daemon=True).start()
    out = trial.folder / "out"
    code = f"from pathlib import Path; from {downloading.__name__} import download; "
    code += f"download(Path({str(out)!r}), source={server.url!r}, jobs=2)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def start() -> int:
        return subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=trial.folder).pid

    def whole_files() -> dict[str, bytes]:
        return {name: content for name, content in contents(out).items() if not name.endswith(".partial")}

    expected = contents(published)
    done = half = different = n_runs = 0

    def look() -> None:
        nonlocal half
        half += sum(content != expected[name] for name, content in whole_files().items())

    while done < wanted and not (trial.is_over and n_runs):
        done += kill_until_done(start, 3.0, wanted - done, trial.chance_of(n_runs), look).n_kills
        different += contents(out) != expected
        shutil.rmtree(out)
        n_runs += 1
    server.shutdown()
    server.server_close()
    return Measured(
        f"{done} kills of {n_runs} downloads of {len(expected) - 1} files and their list {CHECKSUMS}",
        {"incomplete files under their final names": half, "downloads that differ from the publisher's": different},
    )
