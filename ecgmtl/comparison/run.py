"""One run of a comparison: an arm trained from a seed, and what the report needs to know of it."""

import math
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from scipy.special import expit

from data_prep.lock import locked
from ecgmtl.comparison.arms import ArmFile
from ecgmtl.comparison.results import Point, RunResult, Tried, read_result, write_result
from ecgmtl.comparison.truth import ComparisonError
from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.data.split import Split, open_for
from ecgmtl.evaluation.perturbations import PERTURBATIONS
from ecgmtl.evaluation.protocols import PROTOCOLS, infer_logits
from ecgmtl.evaluation.reconstruction import report_reconstruction
from ecgmtl.evaluation.stress import Ranker
from ecgmtl.metrics.ranking import macro_auroc
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.tasks import MAIN
from ecgmtl.tracking import names
from ecgmtl.tracking.tracker import EXPERIMENT, open_tracker
from ecgmtl.training.folder import PARTIALS, RunFolder
from ecgmtl.training.record import Progress
from ecgmtl.training.schedule import Schedule

TUNING = "tuning"
"""Where results of settings that were tried lie."""
SILENT = Progress(lambda *_: None, lambda: None, lambda _: None, lambda _: None, lambda *_: None)


class Job(NamedTuple):
    arm: str
    seed: int
    said: ArmFile
    config: Config
    data: Path
    out: Path
    result: Path
    identity: str
    """Of settings and data: a result of others is not taken for this one."""
    threads: int
    around: str | None
    """MLflow's run of the whole comparison."""
    tried: tuple[Tried, ...]

    @property
    def name(self) -> str:
        number = self.result.stem.rpartition(".")[2]
        return f"{self.arm} {'trial' if self.result.parent.name == TUNING else 'seed'} {number}"

    def is_done(self) -> bool:
        """Whether the result is there.

        Raises:
            ComparisonError: it is of other settings or data.
        """
        if not self.result.is_file():
            return False
        if read_result(self.result).identity != self.identity:
            raise ComparisonError(
                f"{self.result} was made with other settings or data; delete it, or choose another --out."
            )
        return True

    def folder(self) -> RunFolder:
        """The run's own; one that was begun with the same settings is gone on with."""
        path = self.out / "runs" / f"{self.result.parent.name}-{self.result.stem}"
        if not (path / "run.json").is_file():
            return RunFolder.create(path, self.config, self.data)
        folder = RunFolder.reopen(path)
        if folder.config != self.config:
            raise ComparisonError(f"{path} was begun with other settings; delete it, or choose another --out.")
        return folder


def run_job(job: Job) -> RunResult:
    """Train, judge on the validation split, keep the result.

    Raises:
        TrainingError: a loss was not finite.
    """
    torch.set_num_threads(job.threads)
    with locked(job.folder().path, PARTIALS):
        return run_in(job)


def run_in(job: Job) -> RunResult:
    """Run in a folder that is locked."""
    tracker = open_tracker(EXPERIMENT, enabled=job.around is not None, parent=job.around)
    store = open_for(job.data, job.config.preprocess, job.config.validation_fold)
    schedule = Schedule.prepare(store, job.folder(), tracker, SILENT)
    with schedule.record.open(job.config.stages):
        model = schedule.train_stages(job.config.stages).eval()
        result = judge(job, model, schedule.validation, schedule.record.folder.read_history())
        figures = {names.final("validation", names.MACRO_AUROC): result.macro_auroc}
        tracker.log_final(figures | {names.final("validation", name): v for name, v in result.reconstruction.items()})
        tracker.set_tags({"arm": job.arm})
        write_result(job.result, result)
    return result


def judge(job: Job, model: MultiTaskModel, validation: Split, history: list[dict[str, Any]]) -> RunResult:
    probabilities = expit(infer_logits(model, validation))
    return RunResult(
        arm=job.arm,
        seed=job.seed,
        about=job.said.about,
        group=job.said.group,
        is_control=job.said.control,
        identity=job.identity,
        curve=points(history, job.config),
        macro_auroc=macro_auroc(probabilities, validation.labels.cpu().numpy()),
        stress=stress(model, validation, job.config),
        reconstruction=reconstruction(model, validation, job.config),
        diagnostics=means(history, names.train(names.GRADIENT)),
        mean_weights=means(history, names.train(names.WEIGHT)),
        tuning=job.tried,
        probabilities=probabilities,
    )


def stress(model: MultiTaskModel, split: Split, config: Config) -> dict[str, float]:
    """Macro AUROC under each perturbation; without those of one lead after the other, which would take the longest."""
    rank = Ranker(model, split, PROTOCOLS["whole"], config.preprocess, n_bootstrap=0, seed=0, advance=lambda _: None)
    return {name: rank(name, one.change)[0] for name, one in PERTURBATIONS.items() if not one.family}


def reconstruction(model: MultiTaskModel, split: Split, config: Config) -> dict[str, float]:
    """Of the default's hidden samples, for all arms alike; nothing where none was learnt."""
    if not any(stage.reconstructs for stage in config.lineage(config.stages[-1].name)):
        return {}
    figures = asdict(report_reconstruction(model, split, MaskingSettings()).overall)
    return {name: value for name, value in figures.items() if name != "n_samples"}  # the same for all arms


def means(history: list[dict[str, Any]], prefix: str) -> dict[str, float]:
    """Over the epochs that have a figure, of those whose name begins so; nan where none has a number."""
    found: dict[str, list[float]] = {}
    for line in history:
        for name in (name for name in line if name.startswith(prefix)):
            found.setdefault(name.removeprefix(prefix), []).extend([line[name]] if math.isfinite(line[name]) else [])
    return {name: fmean(values) if values else math.nan for name, values in found.items()}


def points(history: list[dict[str, Any]], config: Config) -> tuple[Point, ...]:
    """The run's curve, an epoch a point, in the order of the stages."""
    stages = {stage.name: stage for stage in config.stages}
    places = list(stages)
    step = records = 0
    passes = seconds = 0.0
    found = []
    # a stage that is trained anew, as with other code, is written behind a later one that had begun before
    for line in sorted(history, key=lambda line: (places.index(line["stage"]), line["epoch"])):
        step += line["steps"]
        records += line["records"]
        seconds += line["seconds"]
        passes += line["steps"] * encoder_passes(stages[line["stage"]], config)
        found.append(
            Point(
                step=step,
                samples_seen=records,
                encoder_passes=passes,
                seconds=seconds,
                macro_auroc=line.get(names.validation(names.MACRO_AUROC)),
                loss=line.get(names.validation(names.loss(MAIN))),
                train_loss=line.get(names.train(names.loss(MAIN))),
            )
        )
    return tuple(found)


def encoder_passes(stage: Stage, config: Config) -> float:
    """What a step costs in passes of its records through the encoder; going backwards is two thirds of one.

    Gradient rules go backwards once a task, nothing does through an encoder that does not learn; two encoders cost
    twice, where tasks of both are learnt or they are stitched together, and so do two views of each record. A weighting
    that looks at the losses again goes forwards twice. A teacher is gone through forwards, and is counted as large as
    its student.
    """
    backwards = 0 if "encoder" not in stage.trains else len(stage.losses) if stage.gradients.looks_at_encoder else 1
    encoders = config.sharing.n_encoders({task.trunk for task in stage.tasks})
    teachers = len(stage.teachers) + ("mean_encoder" in stage.needs)
    forwards = 1 + stage.weighting.build(stage.losses).looks_again
    return stage.n_views * (encoders * (forwards + 2 * backwards) + teachers) / 3
