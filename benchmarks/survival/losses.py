"""Training runs that run out of memory, lose their folder or MLflow, or share their folder with another run."""

import os
import resource
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryFile

from benchmarks.survival.commands import TRACEBACK
from benchmarks.survival.processes import Ended, address_space, command, finish, forked, wait
from benchmarks.survival.registry import Measured, Most, Trial, fault
from benchmarks.survival.training import Baseline, are_same, make_baseline, mlflow_faults, weights
from ecgmtl.run_files import MODEL
from tests.fuzz.mutants import flip_bit
from tests.places import free_port


def new_run(baseline: Baseline, folder: Path) -> Path:
    """Make a working folder with an empty MLflow database, and return the path of a run in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(baseline.database, folder / "mlflow.db")
    return folder / "run"


def wait_until(what: Callable[[], bool], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


def has_epochs(run: Path, n_epochs: int) -> bool:
    history = run / "history.jsonl"
    return history.is_file() and len(history.read_text().splitlines()) >= n_epochs


@fault(
    "S7",
    "too little memory for a training batch (RLIMIT_AS)",
    {"training runs that fail": Most(0), "training runs that do not report the halved batch": Most(0)},
)
def starve(trial: Trial) -> Measured:
    baseline = make_baseline(trial)
    run = new_run(baseline, trial.folder / "work")
    words = ("train", "--data", baseline.store, "--out", run, "--no-track", "--threads", 1, "--config", "quick")
    words += ("--stage", "pretrain", "--set", "precision=fp32", "--set", "stages.0.epochs=1")
    words += ("--set", "encoder.widths=[256, 256, 256]", "--set", "stages.0.batch_size=96")

    def run_it() -> None:
        limit = int(address_space() + 250e6)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        command(*words)()

    ended = finish(forked(run_it, trial.folder / "work", trial.folder / "log"))
    output = (trial.folder / "log").read_text()
    return Measured(
        f"1 training with 250 MB: {output.count('needs more memory')} times halved",
        {
            "training runs that fail": int(ended.code != 0),
            "training runs that do not report the halved batch": int("the stage starts again with" not in output),
        },
    )


@fault(
    "S8",
    "the folder of a run is removed while it trains",
    {"exit codes other than 1": Most(0), "tracebacks": Most(0), "slowest exit": Most(30, "s")},
)
def remove_folder(trial: Trial) -> Measured:
    baseline, codes, slowest = make_baseline(trial), 0, 0.0
    n_runs = trial.count(5)
    for number in range(n_runs):
        run = new_run(baseline, trial.folder / "work")
        process = forked(command(*baseline.train(run, track=False)), trial.folder / "work", trial.folder / "log")
        wait_until(lambda run=run, number=number: has_epochs(run, 1 + number % 4))
        for _ in range(2):  # the training may write a file while its folder is removed
            shutil.rmtree(run, ignore_errors=True)
        ended = finish(process)
        codes += ended.code != 1
        slowest = max(slowest, ended.seconds)
    tracebacks = (trial.folder / "log").read_text().count(TRACEBACK)
    return Measured(
        f"{n_runs} runs", {"exit codes other than 1": codes, "tracebacks": tracebacks, "slowest exit": slowest}
    )


def figures_of(baseline: Baseline, run: Path, ended: Ended) -> dict[str, float]:
    """Return the figures of a training that lost MLflow for a while."""
    wrong, running = mlflow_faults(baseline, run.parent / "mlflow.db")
    return {
        "training runs that fail": int(ended.code != 0),
        "weights that differ": int(not are_same(weights(run / MODEL), baseline.weights)),
        "points lost, doubled or changed in MLflow": wrong,
        "runs left RUNNING in MLflow": running,
    }


MLFLOW = {
    "training runs that fail": Most(0),
    "weights that differ": Most(0),
    "points lost, doubled or changed in MLflow": Most(0),
    "runs left RUNNING in MLflow": Most(0),
}


@fault("S9", "MLflow's SQLite database is locked for 20 s during training", MLFLOW)
def lock_database(trial: Trial) -> Measured:
    baseline = make_baseline(trial)
    run = new_run(baseline, trial.folder / "work")
    process = forked(command(*baseline.train(run, track=True)), run.parent, trial.folder / "log")
    wait_until(lambda: has_epochs(run, 1))
    with closing(sqlite3.connect(run.parent / "mlflow.db", timeout=60)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        ended = wait(process, 20.0)
        connection.rollback()
    return Measured("1 training", figures_of(baseline, run, ended or finish(process)))


@fault("S10", "the MLflow server is killed during training, and comes back", MLFLOW)
def lose_server(trial: Trial) -> Measured:
    from ecgmtl.tracking.ui import server, wait_until_it_answers

    baseline = make_baseline(trial)
    run = new_run(baseline, trial.folder / "work")
    address = f"http://127.0.0.1:{free_port()}"
    os.environ["MLFLOW_TRACKING_URI"] = address
    with ExitStack() as stack:
        output = stack.enter_context(TemporaryFile())

        def serve() -> object:
            process = stack.enter_context(server(f"sqlite:///{run.parent}/mlflow.db", address, output))
            wait_until_it_answers(address, process, output)
            return process

        first = serve()
        training = forked(command(*baseline.train(run, track=True)), run.parent, trial.folder / "log")
        wait_until(lambda: has_epochs(run, 2))
        first.send_signal(signal.SIGTERM)  # type: ignore[attr-defined]
        first.wait(30)  # type: ignore[attr-defined]
        wait_until(lambda: has_epochs(run, 4))
        os.kill(training, signal.SIGSTOP)  # a server takes longer to start than this training lasts
        serve()
        os.kill(training, signal.SIGCONT)
        ended = finish(training)
        figures = figures_of(baseline, run, ended)
    return Measured("1 training", figures)


@fault(
    "S11",
    "two training runs are started in the same folder at once",
    {"pairs in which not exactly one run is refused": Most(0), "weights that differ": Most(0), "tracebacks": Most(0)},
)
def train_twice(trial: Trial) -> Measured:
    baseline, wrong, different = make_baseline(trial), 0, 0
    n_pairs = trial.count(20)
    for _ in range(n_pairs):
        run = new_run(baseline, trial.folder / "work")
        words = (*baseline.train(run, track=False), "--stage", "pretrain")
        pair = [forked(command(*words), run.parent, trial.folder / "log") for _ in range(2)]
        wrong += sorted(finish(process).code for process in pair) != [0, 1]
        stage = Path("stages/0-pretrain") / MODEL
        different += not are_same(weights(run / stage), weights(baseline.folder / "whole/run" / stage))
    log = (trial.folder / "log").read_text()
    wrong += log.count("is in use by process") + log.count("contains a run") != n_pairs
    figures = {"pairs in which not exactly one run is refused": wrong, "weights that differ": different}
    return Measured(f"{n_pairs} pairs", figures | {"tracebacks": log.count(TRACEBACK)})


@fault("S12", "the clock is set back by an hour in each epoch of training (time.time is replaced)", MLFLOW)
def set_clock_back(trial: Trial) -> Measured:
    from ecgmtl.training.stage import StageTraining

    baseline = make_baseline(trial)
    run = new_run(baseline, trial.folder / "work")

    def run_it() -> None:
        now, run_epoch, back = time.time, StageTraining.run_epoch, [0.0]

        def earlier(training: StageTraining) -> object:
            back[0] += 3600.0
            return run_epoch(training)

        StageTraining.run_epoch = earlier  # type: ignore[method-assign, assignment]
        time.time = lambda: now() - back[0]  # type: ignore[assignment]
        command(*baseline.train(run, track=True))()

    ended = finish(forked(run_it, run.parent, trial.folder / "log"))
    return Measured("1 training of 6 epochs", figures_of(baseline, run, ended))


@fault(
    "S13",
    "one flipped bit in the prepared signals",
    {"training runs that start": Most(0), "refusals that do not name the file": Most(0)},
)
def alter_store(trial: Trial) -> Measured:
    baseline, chance, started, unnamed = make_baseline(trial), trial.chance, 0, 0
    store = trial.folder / "store"
    shutil.copytree(baseline.store, store)
    signals = store / "signals.npy"
    whole, n_bits = signals.read_bytes(), trial.count(20)
    for _ in range(n_bits):
        signals.write_bytes(flip_bit(whole, chance))
        log = trial.folder / "log"
        log.unlink(missing_ok=True)
        words = ("train", "--data", store, "--out", trial.folder / "run", "--no-track", "--config", "quick")
        started += finish(forked(command(*words, "--stage", "pretrain"), trial.folder, log)).code != 1
        unnamed += "signals.npy" not in log.read_text()
    return Measured(
        f"{n_bits} bits", {"training runs that start": started, "refusals that do not name the file": unnamed}
    )


@fault(
    "R21",
    "the same training run twice, in new folders",
    {"training runs whose weights differ": Most(0)},
)
def train_again(trial: Trial) -> Measured:
    baseline, different = make_baseline(trial), 0
    n_runs = trial.count(5)
    for _ in range(n_runs):
        run = new_run(baseline, trial.folder / "work")
        ended = finish(forked(command(*baseline.train(run, track=False)), run.parent, trial.folder / "log"))
        different += ended.code != 0 or not are_same(weights(run / MODEL), baseline.weights)
    return Measured(f"{n_runs} runs", {"training runs whose weights differ": different})
