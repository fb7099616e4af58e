"""One run of a comparison: an arm trained with one seed, and the result that the report needs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch

from data_prep.files import PARTIALS_BELOW
from data_prep.lock import locked
from data_prep.preprocess import Preprocess
from data_prep.store.open import Store
from ecgmtl.comparison.arms import ArmFile
from ecgmtl.comparison.results import Point, RunResult, Tried, read_result, write_result
from ecgmtl.comparison.truth import ComparisonError
from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.data.split import Split, open_for, split_anew
from ecgmtl.evaluation.perturbations import PERTURBATIONS
from ecgmtl.evaluation.protocols import PROTOCOLS, infer_logits
from ecgmtl.evaluation.reconstruction import report_reconstruction
from ecgmtl.evaluation.stress import Ranker
from ecgmtl.identity import code_digest
from ecgmtl.metrics.ranking import macro_auroc
from ecgmtl.metrics.sigmoid import sigmoid
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.run_files import is_run
from ecgmtl.tasks import MAIN
from ecgmtl.tracking import names
from ecgmtl.tracking.tracker import EXPERIMENT, open_tracker
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.history import EpochLine
from ecgmtl.training.record import SILENT
from ecgmtl.training.schedule import Schedule

TUNING = "tuning"
"""Folder of the results of tuning."""


class ArmRun(NamedTuple):
    """An arm to train with one seed, and the path of its result. Over folds, it is trained on all but one of them."""

    arm: str
    seed: int
    file: ArmFile
    config: Config
    data: Path
    out: Path
    result: Path
    identity: str
    """Digest of settings and data, which distinguishes this result from those of others."""
    threads: int
    parent_run: str | None
    """MLflow run of the whole comparison."""
    tried: tuple[Tried, ...]
    fold: int | None = None
    """Fold to evaluate on. None for the config's own validation split."""

    @property
    def name(self) -> str:
        """Name of the run in messages."""
        number = self.result.stem.rpartition(".")[2]
        fold = "" if self.fold is None else f" fold {self.fold}"
        return f"{self.arm}{fold} {'trial' if self.result.parent.name == TUNING else 'seed'} {number}"

    def is_done(self) -> bool:
        """Return whether the result exists.

        Raises:
            ComparisonError: the result has different settings or data.
        """
        if not self.result.is_file():
            return False
        if read_result(self.result).identity != self.identity:
            raise ComparisonError(
                f"{self.result}: made with different settings or data; delete it, or choose another --out."
            )
        return True

    def folder(self) -> RunFolder:
        """Create the run's folder, or reopen the one of an interrupted run with the same settings."""
        path = self.out / "runs" / f"{self.result.parent.name}-{self.result.stem}"
        if not is_run(path):
            return RunFolder.create(path, self.config, self.data)
        folder = RunFolder.reopen(path)
        if folder.config != self.config:
            raise ComparisonError(f"{path}: started with different settings; delete it, or choose another --out.")
        return folder


def train_and_evaluate(run: ArmRun) -> RunResult:
    """Train, evaluate on the validation split, and write the result.

    Raises:
        TrainingError: a loss is not finite.
    """
    torch.set_num_threads(run.threads)
    with locked(run.folder().path, PARTIALS_BELOW):
        return train_in_folder(run)


def train_in_folder(run: ArmRun) -> RunResult:
    """Train in the locked folder, evaluate, and write the result."""
    tracker = open_tracker(EXPERIMENT, enabled=run.parent_run is not None, parent=run.parent_run)
    store = open_once(run.data, run.config.preprocess)
    if run.config.validation_fold is not None:
        store = split_anew(store, run.config.validation_fold)
    schedule = Schedule.prepare(store, run.folder(), tracker, SILENT)
    with schedule.record.open(run.config.stages):
        model = schedule.train_stages(run.config.stages).eval()
        result = evaluate(run, model, schedule.validation, schedule.record.folder.history.read())
        figures = {names.final("validation", names.MACRO_AUROC): result.macro_auroc}
        tracker.log_final(figures | {names.final("validation", name): v for name, v in result.reconstruction.items()})
        tracker.set_tags({"arm": run.arm})
        result = result.model_copy(update={"made_with": made_with(schedule.record.folder.facts.computes)})
        write_result(run.result, result)
    return result


def made_with(computes: Mapping[str, int | str]) -> str:
    """Return with what a run was trained. `computes` is the entry of its run.json."""
    return f"code {code_digest()[:12]}, {computes['versions']}, {computes['precision']} on {computes['device']}"


@lru_cache(maxsize=1)
def open_once(data: Path, preprocess: Preprocess) -> Store:
    """Open a prepared folder for all runs of this process. A band is filtered once, and its signals stay in memory."""
    store = open_for(data, preprocess)
    return store if store.band is None else store.in_memory()


def evaluate(run: ArmRun, model: MultiTaskModel, validation: Split, history: Sequence[EpochLine]) -> RunResult:
    """Evaluate the model on the validation split."""
    logits = infer_logits(model, validation)
    values = {"probabilities": sigmoid(logits)} if run.fold is None else {"logits": logits}
    return RunResult(
        arm=run.arm,
        seed=run.seed,
        fold=run.fold,
        about=run.file.about,
        group=run.file.group,
        is_control=run.file.control,
        identity=run.identity,
        curve=points(history, run.config),
        macro_auroc=macro_auroc(next(iter(values.values())), validation.labels.cpu().numpy()),
        stress=stress(model, validation, run.config),
        reconstruction=reconstruction(model, validation, run.config),
        diagnostics=means(history, names.train(names.GRADIENT)),
        curvature=curvature(history),
        mean_weights=means(history, names.train(names.WEIGHT)),
        tuning=run.tried,
        **values,
    )


def stress(model: MultiTaskModel, split: Split, config: Config) -> dict[str, float]:
    """Return macro AUROC under each perturbation, except those of single leads, which would take the longest."""
    rank = Ranker(model, split, PROTOCOLS["whole"], config.preprocess, n_bootstrap=0, seed=0, advance=lambda _: None)
    return {
        name: rank(name, perturbation.change)[0]
        for name, perturbation in PERTURBATIONS.items()
        if not perturbation.family
    }


def reconstruction(model: MultiTaskModel, split: Split, config: Config) -> dict[str, float]:
    """Return the reconstruction error with the default masking, or nothing for arms that never reconstruct."""
    if not any(stage.reconstructs for stage in config.lineage(config.stages[-1].name)):
        return {}
    figures = asdict(report_reconstruction(model, split, MaskingSettings()).overall)
    return {name: value for name, value in figures.items() if name != "n_samples"}  # the same for all arms


def means(history: Sequence[EpochLine], prefix: str) -> dict[str, float]:
    """Return means over epochs of figures whose names start with the prefix, or nan if no value is finite."""
    finite: dict[str, list[float]] = {}
    for line in history:
        for name, value in line.figures.items():
            if name.startswith(prefix):
                finite.setdefault(name.removeprefix(prefix), []).extend([value] if math.isfinite(value) else [])
    return {name: fmean(values) if values else math.nan for name, values in finite.items()}


def curvature(history: Sequence[EpochLine]) -> dict[str, tuple[float, ...]]:
    """Return the curvature figures of the last stage that has them, in the order of its epochs."""
    prefix = names.train(names.CURVATURE)
    measured = [line for line in history if any(name.startswith(prefix) for name in line.figures)]
    of_last = [line for line in measured if line.stage == measured[-1].stage]
    figures = dict.fromkeys(name for line in of_last for name in line.figures if name.startswith(prefix))
    return {name.removeprefix(prefix): tuple(line.figures.get(name, math.nan) for line in of_last) for name in figures}


def points(history: Sequence[EpochLine], config: Config) -> tuple[Point, ...]:
    """Return the run's curve with one point per epoch, in the order of the stages."""
    stages = {stage.name: stage for stage in config.stages}
    order = list(stages)
    step = records = 0
    passes = seconds = 0.0
    curve = []
    # a stage that is trained again, for example with changed code, is appended after later stages
    for line in sorted(history, key=lambda line: (order.index(line.stage), line.epoch)):
        step += line.steps
        records += line.records
        seconds += line.seconds
        passes += line.steps * encoder_passes(stages[line.stage], config)
        curve.append(
            Point(
                step=step,
                samples_seen=records,
                encoder_passes=passes,
                seconds=seconds,
                macro_auroc=line.figures.get(names.validation(names.MACRO_AUROC)),
                loss=line.figures.get(names.validation(names.loss(MAIN))),
                train_loss=line.figures.get(names.train(names.loss(MAIN))),
            )
        )
    return tuple(curve)


def encoder_passes(stage: Stage, config: Config) -> float:
    """Return the cost of a step in passes through the encoder, of which a third is forward and two thirds backward.

    - Gradient rules need a backward pass per task. A frozen encoder needs none.
    - Two encoders cost twice as much if tasks of both are learned or if they are stitched together.
    - Two views of each record cost twice as much, and so does a clean view beside the masked one.
    - A weighting that evaluates the losses again needs a second forward pass.
    - A teacher needs a forward pass, and is counted as being as large as its student.
    - ForkMerge trains the main task alone too.
    """
    if stage.fork:
        joint = stage.model_copy(update={"fork": None})
        return encoder_passes(joint, config) + encoder_passes(stage.main_alone, config)
    backwards = 0 if "encoder" not in stage.trains else len(stage.losses) if stage.gradients.looks_at_encoder else 1
    encoders = config.sharing.n_encoders({task.trunk for task in stage.tasks})
    teachers = len(stage.teachers) + ("mean_encoder" in stage.needs)
    forwards = 1 + stage.weighting.build(stage.losses).looks_again
    return stage.n_views * stage.n_passes * (encoders * (forwards + 2 * backwards) + teachers) / 3
