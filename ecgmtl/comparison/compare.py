"""`ecgmtl compare`: every arm from every seed, each run once and kept; then one report on all of them."""

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.files import write_text
from data_prep.store import Store
from ecgmtl.comparison.arms import Arm
from ecgmtl.comparison.report import write_report
from ecgmtl.comparison.results import RunResult, Tried, Truth, read_result, result_path, write_truth
from ecgmtl.comparison.run import Job, run_job
from ecgmtl.config import Config
from ecgmtl.data import load_split, open_for
from ecgmtl.identity import sha256
from ecgmtl.tracking import EXPERIMENT, Tracker, open_tracker
from ecgmtl.trainer import TrainingError

FACTS = "comparison.json"


class Plan(NamedTuple):
    """What is compared, on what, and where it goes."""

    arms: Sequence[Arm]
    data: Path
    out: Path
    seeds: int
    tune: int = 0
    """Settings that are tried for each arm before its seeds are run."""
    jobs: int = 1
    """Runs at a time, each with its share of the processor."""
    track: bool = True


class Outcome(NamedTuple):
    report: Path
    failed: dict[str, str]
    """Runs that could not be finished, with the reason."""


def compare(plan: Plan, say: Callable[[str], None]) -> Outcome:
    """Run what is not done yet, and write the report on all that is.

    Raises:
        ConfigError: the data were prepared otherwise, or a run's folder cannot be used.
    """
    store = open_for(plan.arms[0].config, plan.data)
    plan.out.mkdir(parents=True, exist_ok=True)
    write_truth(plan.out, truth_of(store, plan.arms[0].config))
    tracker = open_tracker(EXPERIMENT, enabled=plan.track)
    params = {"arms": " ".join(arm.name for arm in plan.arms), "seeds": plan.seeds, "tune": plan.tune}
    with tracker.run(f"compare-{plan.out.name}", tags={}, params=params, resume=known_run(plan.out)) as run_id:
        write_text(plan.out / FACTS, json.dumps({"mlflow_run": run_id}))
        failed = tune_and_run(plan, store, run_id, say)
        report = write_report(plan.out)
        log_report(tracker, plan.out)
    return Outcome(report, failed)


def tune_and_run(plan: Plan, store: Store, run_id: str | None, say: Callable[[str], None]) -> dict[str, str]:
    def job(arm: Arm, seed: int, settings: dict[str, Any], path: Path, tried: tuple[Tried, ...] = ()) -> Job:
        config = arm.with_settings({**settings, "seed": seed}, arm.name)
        identity = sha256(f"{config.model_dump_json()} {store.sha256}".encode())
        threads = max(1, (os.cpu_count() or 1) // plan.jobs)
        return Job(arm.name, seed, arm.said, config, plan.data, plan.out, path, identity, threads, run_id, tried)

    trials = [
        job(arm, 0, drawn, plan.out / "tuning" / f"{arm.name}.{place}.json")
        for place in range(plan.tune)
        for arm in plan.arms
        for drawn in [arm.draws(plan.tune)[place]]
    ]
    failed = run_all(trials, plan.jobs, say)
    chosen = {arm.name: tuning_of(arm, plan) for arm in plan.arms}
    runs = [
        job(arm, seed, best_of(chosen[arm.name]), result_path(plan.out, arm.name, seed), chosen[arm.name])
        for seed in range(plan.seeds)  # a seed of every arm before the next one: what is there at any time is balanced
        for arm in plan.arms
        if seed in arm.seeds(plan.seeds)
    ]
    return failed | run_all(runs, plan.jobs, say)


def tuning_of(arm: Arm, plan: Plan) -> tuple[Tried, ...]:
    """What tuning found for each of the settings that could be trained."""
    found = []
    for place, drawn in enumerate(arm.draws(plan.tune) if plan.tune else []):
        path = plan.out / "tuning" / f"{arm.name}.{place}.json"
        if path.is_file():
            found.append(Tried(settings=drawn, score=read_result(path).macro_auroc))
    return tuple(found)


def best_of(tried: tuple[Tried, ...]) -> dict[str, Any]:
    return max(tried, key=lambda one: one.score).settings if tried else {}


def run_all(jobs: Sequence[Job], at_a_time: int, say: Callable[[str], None]) -> dict[str, str]:
    """Run the jobs that have no result yet; what fails is told, and the rest goes on."""
    todo = [job for job in jobs if not job.is_done()]
    if len(todo) < len(jobs):
        say(f"{len(jobs) - len(todo)} of {len(jobs)} runs are done already")
    failed: dict[str, str] = {}
    started = time.perf_counter()
    for number, (job, outcome) in enumerate(outcomes(todo, at_a_time), 1):
        left = (time.perf_counter() - started) / number * (len(todo) - number) / 60
        head = f"{number}/{len(todo)} {job.arm} seed {job.seed}: "
        if isinstance(outcome, RunResult):
            seconds = outcome.curve[-1].seconds
            say(f"{head}macro-AUROC {outcome.macro_auroc:.4f}, {seconds:.0f} s of training; {left:.0f} min left")
        else:
            failed[f"{job.arm} seed {job.seed}"] = str(outcome)
            say(f"{head}failed: {outcome}")
    return failed


def outcomes(jobs: Sequence[Job], at_a_time: int) -> Iterator[tuple[Job, RunResult | TrainingError]]:
    if at_a_time == 1:
        for job in jobs:
            try:
                yield job, run_job(job)
            except TrainingError as error:
                yield job, error
        return
    # processes are begun anew, for torch's threads do not outlive a fork
    pool = ProcessPoolExecutor(at_a_time, multiprocessing.get_context("spawn"))
    try:
        running: dict[Future[RunResult], Job] = {pool.submit(run_job, job): job for job in jobs}
        for future in as_completed(running):
            try:
                yield running[future], future.result()
            except TrainingError as error:
                yield running[future], error
    finally:
        pool.shutdown(cancel_futures=True)


def truth_of(store: Store, config: Config) -> Truth:
    labels = config.labels or str(store.manifest["labels"])
    validation = load_split(store, "validation", labels)
    return Truth(validation.labels.numpy() > 0, validation.patients, validation.label_names)


def known_run(out: Path) -> str | None:
    """MLflow's run of a comparison that was begun before."""
    path = out / FACTS
    found: str | None = json.loads(path.read_text())["mlflow_run"] if path.is_file() else None
    return found


def log_report(tracker: Tracker, out: Path) -> None:
    for path in sorted(out.glob("*")):
        if path.suffix in (".md", ".html", ".png", ".csv"):
            tracker.log_artifact(path, "report")
