"""Training runs that are killed or interrupted."""

import json
import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.survival.processes import POLL, command, finish, forked, killed_in, killed_within, wait
from benchmarks.survival.registry import Measured, Most, Trial, fault
from data_prep.preprocess import Preprocess
from data_prep.store.prepare import prepare
from data_prep.synthetic.folder import write_ptbxl
from ecgmtl import checkpoint
from ecgmtl.checkpoint import CheckpointError
from ecgmtl.run_files import MODEL
from ecgmtl.training import state_file
from tests.commands import EPOCHS, SMALL

N_RECORDS = 120
TRACKED = ("train/loss", "train/lr", "train/weight", "validation/")
"""Beginnings of the names of figures that MLflow should have once for each step or epoch, however often a run dies."""
MOMENTS = ("any time", "a checkpoint's write", "an epoch's end", "an MLflow call")


class Baseline(NamedTuple):
    """Prepared records, an empty MLflow database, and a training that nothing interrupted."""

    folder: Path
    weights: dict[str, torch.Tensor]
    seconds: float
    """Duration of that training, with MLflow."""

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def database(self) -> Path:
        return self.folder / "empty.db"

    @property
    def tracked(self) -> Counter[tuple[object, ...]]:
        return points(self.folder / "mlflow.db")

    def train(self, run: Path, *, track: bool) -> tuple[object, ...]:
        """Return the words of a command that trains in the folder `run`, or resumes there."""
        words = (("--track" if track else "--no-track"), "--threads", 1)
        if (run / "run.json").is_file():
            return ("train", "--resume", run, *words)
        return ("train", "--data", self.store, "--out", run, *words, *SMALL)


def import_all() -> None:
    """Import what a training needs, so that forked processes need not. It starts no thread."""
    import matplotlib as mpl

    from ecgmtl.tracking.store import import_mlflow

    mpl.use("Agg")
    import ecgmtl.cli.train
    import ecgmtl.evaluation.report
    import ecgmtl.tracking.mlflow_tracker
    import ecgmtl.training.schedule  # noqa: F401

    import_mlflow()


def make_baseline(trial: Trial) -> Baseline:
    """Prepare records and train on them once for all faults of a call."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    import_all()
    folder = trial.shared / "baseline"
    seconds = folder / "seconds"
    if not seconds.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        seconds.write_text(str(train_once(folder)))
    return Baseline(folder, weights(folder / "whole/run" / MODEL), float(seconds.read_text()))


def train_once(folder: Path) -> float:
    """Prepare records, make an MLflow database and train. Return the seconds of the training."""
    write_ptbxl(folder / "records", N_RECORDS, seed=0)
    prepare(folder / "records", folder / "store", Preprocess(), "superdiagnostic", workers=1)
    make_database(folder)
    ended = finish(
        forked(command(*Baseline(folder, {}, 0.0).train(folder / "whole/run", track=True)), folder, folder / "log")
    )
    if ended.code:
        raise RuntimeError((folder / "log").read_text())
    return ended.seconds


def make_database(folder: Path) -> None:
    """Make an empty MLflow database, and a copy of it."""

    def make() -> None:
        from ecgmtl.tracking.store import import_mlflow

        import_mlflow().MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()

    if finish(forked(make, folder, folder / "log")).code:
        raise RuntimeError((folder / "log").read_text())
    shutil.copy(folder / "mlflow.db", folder / "empty.db")


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path).model.state_dict()


def are_same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    """Return whether weights are equal bit for bit."""
    return some.keys() == others.keys() and all(torch.equal(value, others[name]) for name, value in some.items())


def query(database: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


def points(database: Path) -> Counter[tuple[object, ...]]:
    """Return the points of the finished runs' curves: the run's name, the figure's name, step and value."""
    statement = "SELECT name, key, step, value FROM metrics JOIN runs USING (run_uuid) WHERE status = 'FINISHED'"
    rows = query(database, statement)
    return Counter(row for row in rows if str(row[1]).startswith(TRACKED) and "records_per_second" not in str(row[1]))


def unreadable(run: Path) -> int:
    """Return how many checkpoints and training states of a run cannot be loaded."""
    failed = 0
    for pattern, load in ((f"**/{MODEL}", checkpoint.load), ("stages/*/state.pt", state_file.load_state)):
        for path in run.glob(pattern):
            try:
                load(path)
            except CheckpointError:
                failed += 1
    return failed


@contextmanager
def noted_epochs(notes: Path) -> Iterator[None]:
    """Write a line at the start of each epoch."""
    from ecgmtl.training.stage import StageTraining

    run_epoch = StageTraining.run_epoch

    def note(training: StageTraining) -> object:
        with notes.open("a") as file:
            file.write(f"{training.stage.name} {training.epoch}\n")
        return run_epoch(training)

    StageTraining.run_epoch = note  # type: ignore[method-assign]
    try:
        yield
    finally:
        StageTraining.run_epoch = run_epoch  # type: ignore[method-assign]


KILLED = "killed"


def most_repeated(notes: Path) -> int:
    """Return how many epochs were begun twice after one kill, at the most."""
    order = {f"{stage} {epoch}": index for index, (stage, epoch) in enumerate(EPOCHS)}
    repeated, last, first = 0, -1, True
    for line in notes.read_text().splitlines():
        if line == KILLED:
            first = True
            continue
        if first:
            repeated = max(repeated, last - order[line] + 1)
            first = False
        last = order[line]
    return repeated


class Killed(NamedTuple):
    """Figures of a training that was killed until it was done."""

    moments: Counter[str]
    """Kills by their moments."""
    unreadable: int
    repeated: int
    is_same: bool
    has_history: bool
    mlflow_wrong: int
    left_running: int


def kill_a_training(baseline: Baseline, folder: Path, trial: Trial, number: int, budget: int) -> Killed:
    """Train in a new folder, and kill the process again and again, at most `budget` times."""
    chance = trial.chance_of(number)
    track = number % 3 == 2
    run, notes, marker = folder / "run", folder / "epochs", folder / "in-call"
    shutil.copy(baseline.database, folder / "mlflow.db")
    notes.touch()
    moments: Counter[str] = Counter()
    n_unreadable = 0
    while True:
        goes_on = moments.total() < budget and not trial.is_over
        moment = chance.choice(MOMENTS if track else MOMENTS[:3]) if goes_on else "none"

        def run_it(moment: str = moment) -> None:
            with noted_epochs(notes), ExitStack() as stack:
                if moment in MOMENTS[1:]:
                    stack.enter_context(killed_at(moment, marker, chance))
                command(*baseline.train(run, track=track))()

        longest = baseline.seconds * (1.0 if track else 0.4) * chance.choice((0.2, 0.5, 1.0))
        process = forked(run_it, folder, folder / "log")
        if moment == "none" or not killed_within(process, chance.uniform(0, longest) if moment == MOMENTS[0] else 600):
            if moment == "none":
                finish(process)
            break
        moments[moment if marker.exists() else MOMENTS[0]] += 1
        marker.unlink(missing_ok=True)
        n_unreadable += unreadable(run)
        with notes.open("a") as file:
            file.write(f"{KILLED}\n")
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    has_history = [(line["stage"], line["epoch"]) for line in history] == EPOCHS
    wrong, running = (0, 0) if not track else mlflow_faults(baseline, folder / "mlflow.db")
    same = (run / MODEL).is_file() and are_same(weights(run / MODEL), baseline.weights)
    return Killed(moments, n_unreadable, most_repeated(notes), same, has_history, wrong, running)


def killed_at(moment: str, marker: Path, chance: random.Random) -> AbstractContextManager[None]:
    """Return a context in which this process is killed at such a moment."""
    from ecgmtl.tracking.outbox import Outbox
    from ecgmtl.training.stage import StageTraining

    if moment == MOMENTS[2]:
        return killed_in(StageTraining, "run_epoch", marker, chance, 3, after=True)
    if moment == MOMENTS[1]:
        return killed_in(chance.choice((checkpoint, state_file)), "write_whole", marker, chance, 5)
    return killed_in(Outbox, "send", marker, chance, 60)


def mlflow_faults(baseline: Baseline, database: Path) -> tuple[int, int]:
    """Return how many points of the curves are wrong, and how many runs are still said to be running."""
    expected, found = baseline.tracked, points(database)
    differing = (expected - found) + (found - expected)
    (row,) = query(database, "SELECT COUNT(*) FROM runs WHERE status = 'RUNNING'")
    return differing.total(), int(str(row[0]))


@fault(
    "R13",
    "kill -9 at random moments of training in all stages, which is resumed until the run is done",
    {
        "checkpoints that do not load": Most(0),
        "runs whose weights differ from an uninterrupted run's": Most(0),
        "most epochs repeated after a kill": Most(1),
        "runs whose history lacks or doubles an epoch": Most(0),
        "points lost, doubled or changed in MLflow": Most(0),
        "runs left RUNNING in MLflow": Most(0),
    },
)
def kill_trainings(trial: Trial) -> Measured:
    baseline, wanted = make_baseline(trial), trial.count(200)
    done: list[Killed] = []
    moments: Counter[str] = Counter()
    while moments.total() < wanted and not (trial.is_over and done):
        folder = trial.folder / f"{len(done)}"
        folder.mkdir()
        done.append(kill_a_training(baseline, folder, trial, len(done), wanted - moments.total()))
        moments += done[-1].moments
        shutil.rmtree(folder)
    where = ", ".join(f"{moments[moment]} in {moment}" for moment in MOMENTS[1:])
    return Measured(
        f"{moments.total()} kills of {len(done)} runs: {moments[MOMENTS[0]]} at any time, {where}",
        {
            "checkpoints that do not load": sum(run.unreadable for run in done),
            "runs whose weights differ from an uninterrupted run's": sum(not run.is_same for run in done),
            "most epochs repeated after a kill": max(run.repeated for run in done),
            "runs whose history lacks or doubles an epoch": sum(not run.has_history for run in done),
            "points lost, doubled or changed in MLflow": sum(run.mlflow_wrong for run in done),
            "runs left RUNNING in MLflow": sum(run.left_running for run in done),
        },
    )


@fault(
    "R14",
    "SIGINT and SIGTERM at random moments of a training run that is logged to MLflow",
    {
        "other exit codes than 130 and 143": Most(0),
        "slowest exit": Most(5, "s"),
        "checkpoints that do not load": Most(0),
        "runs not KILLED in MLflow": Most(0),
    },
)
def interrupt_trainings(trial: Trial) -> Measured:
    baseline, chance = make_baseline(trial), trial.chance
    wrong = slowest = broken = other = done = 0
    wanted = trial.count(20)
    while done < wanted:
        how = chance.choice([signal.SIGINT, signal.SIGTERM])
        folder = trial.folder / "cut"
        folder.mkdir()
        shutil.copy(baseline.database, folder / "mlflow.db")
        process = forked(command(*baseline.train(folder / "run", track=True)), folder, folder / "log")
        while not (folder / "run/run.json").is_file():
            time.sleep(POLL)
        if not killed_softly(process, chance.uniform(0, baseline.seconds), how):
            shutil.rmtree(folder)
            continue
        ended = finish(process)
        if ended.code == 0 and are_same(weights(folder / "run" / MODEL), baseline.weights):  # it had ended before
            shutil.rmtree(folder)
            continue
        done += 1
        wrong += ended.code != {signal.SIGINT: 130, signal.SIGTERM: 143}[how]
        slowest = max(slowest, ended.seconds)
        broken += unreadable(folder / "run")
        other += len(query(folder / "mlflow.db", "SELECT 1 FROM runs WHERE status IN ('RUNNING', 'FAILED')"))
        shutil.rmtree(folder)
    return Measured(
        f"{done} signals",
        {
            "other exit codes than 130 and 143": wrong,
            "slowest exit": slowest,
            "checkpoints that do not load": broken,
            "runs not KILLED in MLflow": other,
        },
    )


def killed_softly(process: int, seconds: float, how: signal.Signals) -> bool:
    """Send a signal after some seconds. Return False if the process ended by itself before."""
    if wait(process, seconds) is not None:
        return False
    os.kill(process, how)
    return True
