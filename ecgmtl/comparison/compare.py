"""`ecgmtl compare`: train every arm with every seed, keep each result, and write one report on all of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.files import write_text
from data_prep.lock import locked
from data_prep.store.open import Store
from ecgmtl.comparison.arms import Arm
from ecgmtl.comparison.claims_file import CLAIMS, read_claims
from ecgmtl.comparison.comparison import FACTS, KEPT_CLAIMS, facts_of, read_comparison
from ecgmtl.comparison.plan import Plan
from ecgmtl.comparison.queue import run_all
from ecgmtl.comparison.report import PLOTS, REPORT, TABLES, write_report
from ecgmtl.comparison.results import has_results
from ecgmtl.comparison.run import open_once
from ecgmtl.comparison.text import mixed_origins
from ecgmtl.comparison.truth import TRUTH, ComparisonError, Truth, is_same, read_truth, write_truth
from ecgmtl.config.run import Config
from ecgmtl.data.split import load_split, open_for, split_anew
from ecgmtl.identity import sha256
from ecgmtl.tracking.tracker import EXPERIMENT, Tracker, open_tracker


class Outcome(NamedTuple):
    """The report and the runs that failed."""

    report: Path
    failed: dict[str, str]
    """Reason of failure by the name of the run."""


def compare(plan: Plan, say: Callable[[str], None]) -> Outcome:
    """Run what has no result yet, and write the report on all results.

    Raises:
        ConfigError: the data were prepared with other settings, or a run's folder cannot be used.
        FolderInUseError: another process uses the output folder.
        ComparisonError: the arms or the results in the folder have other records or labels, or the arm that others
            are compared with is neither planned nor finished.
    """
    refuse_other_data(plan.arms)
    refuse_other_base(plan)
    refuse_absent_reference(plan)
    store = open_for(plan.data, plan.arms[0].config.preprocess, plan.arms[0].config.validation_fold)
    if plan.folds:
        refuse_own_fold(plan.arms)
        for fold in plan.folds:
            split_anew(store, fold)
    truth = truth_of(store, plan.arms[0].config, folded=bool(plan.folds))
    with locked(plan.out):
        keep_truth(plan, truth)
        keep_claims(plan)
        return compare_in(plan, store, say)


def compare_in(plan: Plan, store: Store, say: Callable[[str], None]) -> Outcome:
    """Run the comparison in a locked folder."""
    open_once.cache_clear()  # an earlier comparison of this process may have opened the folder before it changed
    tracker = open_tracker(EXPERIMENT, enabled=plan.track)
    params = {"arms": " ".join(arm.name for arm in plan.arms), "seeds": plan.seeds, "tune": plan.tune}
    if plan.folds:
        params["folds"] = " ".join(map(str, plan.folds))
    with tracker.run(f"compare-{plan.out.name}", tags={}, params=params, resume=known_run(plan.out)) as run_id:
        facts = facts_of(plan.out)
        known = {
            "mlflow_run": run_id or facts.get("mlflow_run"),
            "bases": facts.get("bases", {}) | bases(plan.arms),
            "label_share": label_share_of(plan.arms),
        }
        write_text(plan.out / FACTS, json.dumps(known))
        failed = tune_and_run(plan, store, run_id, say)
        report = write_report(plan.out)
        for sentence in mixed_origins(read_comparison(plan.out)):
            say(sentence)
        log_report(tracker, plan.out)
    return Outcome(report, failed)


def tune_and_run(plan: Plan, store: Store, run_id: str | None, say: Callable[[str], None]) -> dict[str, str]:
    """Tune the arms, run their seeds, and return the failed runs with their reasons."""
    failed = run_all(plan.trials(store.sha256, run_id), plan.jobs, say)
    return failed | run_all(plan.runs(store.sha256, run_id), plan.jobs, say)


def refuse_other_data(arms: Sequence[Arm]) -> None:
    """Raise ComparisonError if arms differ in their labels, preprocessing or validation fold."""
    first = arms[0]
    for arm in arms:
        for key in ("labels", "preprocess", "validation_fold"):
            if getattr(arm.config, key) != getattr(first.config, key):
                raise ComparisonError(
                    f"arm {arm.name}: {key} differs from that of {first.name}; arms are compared on the same records "
                    f"and labels, so set {key} for all of them, with --set or in their base config."
                )


def refuse_own_fold(arms: Sequence[Arm]) -> None:
    """Raise ComparisonError if arms name a validation fold of their own."""
    if arms[0].config.validation_fold is not None:
        raise ComparisonError(
            f"arm {arms[0].name}: validation_fold is {arms[0].config.validation_fold}, but with --folds every run is "
            f"validated on its own fold; remove validation_fold from the config, or --folds from the command."
        )


def bases(arms: Sequence[Arm]) -> dict[str, str]:
    """Return the digest of each base config, overrides included, by the name of its file."""
    return {arm.file.base: sha256(arm.base.model_dump_json().encode()) for arm in arms}


def label_share_of(arms: Sequence[Arm]) -> float | None:
    """Return the fraction of labeled patients that the arms have in common, or None."""
    shares = {arm.config.label_share for arm in arms}
    return shares.pop() if len(shares) == 1 else None


def refuse_other_base(plan: Plan) -> None:
    """Raise ComparisonError if the folder has results of arms that started from another base config."""
    before = facts_of(plan.out).get("bases", {})
    for name, digest in bases(plan.arms).items():
        if before.get(name, digest) != digest:
            raise ComparisonError(
                f"{plan.out}: holds runs that started from a different {name} or --set, which cannot be compared with "
                f"these. Use the same --set, or choose another --out."
            )


def refuse_absent_reference(plan: Plan) -> None:
    """Raise ComparisonError if the arm that others are compared with is neither planned nor finished."""
    own, kept = plan.arms[0].folder / CLAIMS, plan.out / KEPT_CLAIMS
    reference = read_claims(own if own.is_file() else kept).reference
    if reference not in {arm.name for arm in plan.arms} and not has_results(plan.out, reference):
        names = ", ".join(arm.name for arm in plan.arms)
        raise ComparisonError(
            f"{plan.arms[0].folder}: the arms {names} are to be compared with the arm '{reference}', which is not "
            f"among them. Add it, or name another arm in {own}, as `reference: {plan.arms[0].name}`."
        )


def keep_truth(plan: Plan, truth: Truth) -> None:
    """Write the truth into a new folder. In an existing one, raise ComparisonError if it differs."""
    if not (plan.out / TRUTH).is_file():
        try:
            write_truth(plan.out, truth)
        except OSError as error:
            raise ComparisonError(f"{plan.out}: cannot be written ({error.strerror}); choose another --out.") from error
    elif not is_same(read_truth(plan.out), truth):
        raise ComparisonError(
            f"{plan.out}: holds a comparison on records or labels other than those of {plan.data}; "
            f"choose another --out."
        )


def keep_claims(plan: Plan) -> None:
    """Copy the claims of the folder of arms, if it has any, so that the report needs no other folder."""
    path = plan.arms[0].folder / CLAIMS
    if path.is_file():
        write_text(plan.out / KEPT_CLAIMS, path.read_text(encoding="utf-8"))


def truth_of(store: Store, config: Config, *, folded: bool = False) -> Truth:
    """Return labels and patients of the validation records, or of all records that are in a fold if `folded`.

    Records of the test split are in no fold.
    """
    labels = config.labels or store.default_labels
    if not folded:
        validation = load_split(store, "validation", labels)
        return Truth(validation.labels.numpy() > 0, validation.patients, validation.label_names)
    table = store.records
    rows = np.flatnonzero((table["split"] != "test") & table["fold"].notna())
    patients = np.unique(table["patient_id"].to_numpy()[rows], return_inverse=True)[1].astype(np.int64)
    return Truth(
        labels=store.labels(labels)[rows] > 0,
        patients=patients,
        label_names=store.label_names(labels),
        folds=table["fold"].to_numpy()[rows].astype(np.int64),
        names=tuple(table["name"].astype(str).iloc[rows]),
    )


def known_run(out: Path) -> str | None:
    """Return the MLflow run of an earlier call for the same folder, if it was logged."""
    run: str | None = facts_of(out).get("mlflow_run")
    return run


def log_report(tracker: Tracker, out: Path) -> None:
    """Log the report, its plots and its tables to MLflow."""
    for name in REPORT:
        tracker.log_artifact(out / name, "report")
    for name in (PLOTS, TABLES):
        tracker.log_artifact(out / name, f"report/{name}")
