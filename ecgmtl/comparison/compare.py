"""`ecgmtl compare`: every arm from every seed, each run once and kept; then one report on all of them."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.files import write_text
from data_prep.lock import locked
from data_prep.store.open import Store
from ecgmtl.comparison.arms import Arm
from ecgmtl.comparison.claims_file import CLAIMS, read_claims
from ecgmtl.comparison.queue import run_all
from ecgmtl.comparison.report import PICTURES, REPORT, TABLES, write_report
from ecgmtl.comparison.results import KEPT_CLAIMS, Tried, read_result, result_path
from ecgmtl.comparison.run import TUNING, Job
from ecgmtl.comparison.truth import TRUTH, ComparisonError, Truth, is_same, read_truth, write_truth
from ecgmtl.config.run import Config
from ecgmtl.data.split import load_split, open_for
from ecgmtl.identity import sha256
from ecgmtl.tracking.tracker import EXPERIMENT, Tracker, open_tracker

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
        FolderInUseError: another process compares there.
        ComparisonError: arms, or what is in the folder already, are of other records or labels.
    """
    refuse_other_data(plan.arms)
    refuse_other_base(plan)
    store = open_for(plan.data, plan.arms[0].config.preprocess, plan.arms[0].config.validation_fold)
    truth = truth_of(store, plan.arms[0].config)
    with locked(plan.out):
        keep_truth(plan, truth)
        keep_claims(plan)
        return compare_in(plan, store, say)


def compare_in(plan: Plan, store: Store, say: Callable[[str], None]) -> Outcome:
    """Compare in a folder that is locked."""
    tracker = open_tracker(EXPERIMENT, enabled=plan.track)
    params = {"arms": " ".join(arm.name for arm in plan.arms), "seeds": plan.seeds, "tune": plan.tune}
    with tracker.run(f"compare-{plan.out.name}", tags={}, params=params, resume=known_run(plan.out)) as run_id:
        facts = facts_of(plan.out)
        known = {"mlflow_run": run_id or facts.get("mlflow_run"), "bases": facts.get("bases", {}) | bases(plan.arms)}
        write_text(plan.out / FACTS, json.dumps(known))
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
        job(arm, 0, drawn, plan.out / TUNING / f"{arm.name}.{place}.json")
        for arm in plan.arms
        for place, drawn in enumerate(arm.draws(plan.tune))
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
    for place, drawn in enumerate(arm.draws(plan.tune)):
        path = plan.out / TUNING / f"{arm.name}.{place}.json"
        if path.is_file():
            found.append(Tried(settings=drawn, score=read_result(path).macro_auroc))
    return tuple(found)


def best_of(tried: tuple[Tried, ...]) -> dict[str, Any]:
    return max(tried, key=lambda one: one.score).settings if tried else {}


def refuse_other_data(arms: Sequence[Arm]) -> None:
    first = arms[0]
    for arm in arms:
        for key in ("labels", "preprocess", "validation_fold"):
            if getattr(arm.config, key) != getattr(first.config, key):
                raise ComparisonError(
                    f"arm {arm.name} has other {key} than {first.name}; arms are compared on the same records and "
                    f"labels, so set {key} for all of them, by --set or in their base."
                )


def bases(arms: Sequence[Arm]) -> dict[str, str]:
    """What identifies each config that arms start from, by its file, with what the command line changed of it."""
    return {arm.said.base: sha256(arm.base.model_dump_json().encode()) for arm in arms}


def refuse_other_base(plan: Plan) -> None:
    before = facts_of(plan.out).get("bases", {})
    for name, digest in bases(plan.arms).items():
        if before.get(name, digest) != digest:
            raise ComparisonError(
                f"{plan.out} holds arms that started from {name} as it was then, or with another --set; with this one "
                f"they are no comparison. Say the same --set, or choose another --out."
            )


def keep_truth(plan: Plan, truth: Truth) -> None:
    """Write it into a new folder; in one that is gone on with, look whether it is the same."""
    if not (plan.out / TRUTH).is_file():
        try:
            write_truth(plan.out, truth)
        except OSError as error:
            raise ComparisonError(f"{plan.out}: cannot be written ({error.strerror}); choose another --out.") from error
    elif not is_same(read_truth(plan.out), truth):
        raise ComparisonError(
            f"{plan.out} holds a comparison on other records or labels than those of {plan.data}; choose another --out."
        )


def keep_claims(plan: Plan) -> None:
    """Copy the claims of the folder of arms, where it has any, so that the report needs no other folder."""
    path = plan.arms[0].folder / CLAIMS
    if path.is_file():
        read_claims(path)
        write_text(plan.out / KEPT_CLAIMS, path.read_text(encoding="utf-8"))


def truth_of(store: Store, config: Config) -> Truth:
    labels = config.labels or store.default_labels
    validation = load_split(store, "validation", labels)
    return Truth(validation.labels.numpy() > 0, validation.patients, validation.label_names)


def known_run(out: Path) -> str | None:
    """MLflow's run of a comparison that was begun before, and logged."""
    found: str | None = facts_of(out).get("mlflow_run")
    return found


def facts_of(out: Path) -> dict[str, Any]:
    """What an earlier call noted of the comparison."""
    path = out / FACTS
    facts: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return facts


def log_report(tracker: Tracker, out: Path) -> None:
    for name in REPORT:
        tracker.log_artifact(out / name, "report")
    for name in (PICTURES, TABLES):
        tracker.log_artifact(out / name, f"report/{name}")
