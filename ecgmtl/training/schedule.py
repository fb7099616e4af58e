"""A whole run: its stages in order, each taken from an earlier run where it is finished; calibration; a report."""

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor

from data_prep.store.open import Store
from ecgmtl import __version__, checkpoint
from ecgmtl.checkpoint import MODEL, Checkpoint
from ecgmtl.config.run import Config, ConfigError
from ecgmtl.config.shipped import with_stage
from ecgmtl.config.stage import UNTRAINED, Stage
from ecgmtl.data.split import Split, lead_statistics, load_split, require_both_classes
from ecgmtl.device import Precision, pick_device, resolve
from ecgmtl.identity import code_digest
from ecgmtl.metrics.calibration import Calibration, fit_calibration
from ecgmtl.model.forest.grow import grow_forest
from ecgmtl.model.heads import Classifier
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.tasks.labels import prevalence
from ecgmtl.tracking.tracker import Tracker
from ecgmtl.training.finished import StageResults
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.report import report_run
from ecgmtl.training.stage import EpochReport, StageTraining, TrainingError
from ecgmtl.training.validation import infer_logits

LABELLED = 1
"""Sets the draw of labelled patients apart from other draws of a run."""


WEIGHTS_KEPT = 11
"""Times the size of the weights: two states (network, running mean, best epoch, two moments of Adam) and the model."""


class Progress(NamedTuple):
    """How a run tells what it is doing; the command line draws it."""

    begin: Callable[[tuple[Stage, ...], int, int, int], None]
    """The stages of the run, the index of the one that begins, its number of steps, and how many are done already."""
    advance: Callable[[], None]
    """A step is done."""
    epoch: Callable[[EpochReport], None]
    say: Callable[[str], None]
    work: Callable[[str, int, int], None]
    """What is done beside the stages, how far that is, and how far it goes."""


@dataclass(frozen=True)
class Schedule:
    """A config, the data it learns from, and where its results go."""

    config: Config
    train: Split
    validation: Split
    label_set: str
    data_sha256: str
    folder: RunFolder
    tracker: Tracker
    progress: Progress
    precision: Precision = "auto"
    """With which the run began."""

    @classmethod
    def prepare(cls, store: Store, folder: RunFolder, tracker: Tracker, progress: Progress) -> "Schedule":
        config, device = folder.config, pick_device()
        labels = config.labels or store.default_labels
        train = load_split(store, "train", labels, config.auxiliary_labels, device)
        validation = load_split(store, "validation", labels, config.auxiliary_labels, device)
        if config.unlabelled == "drop":
            train = train.select(train.labels.sum(dim=1).cpu().numpy() > 0)
        if config.label_share < 1:
            train = replace(train, labelled=train.sample_patients(config.label_share, (config.seed, LABELLED)))
        precision = compute_as_before(folder, config, device, progress.say)
        return cls(config, train, validation, labels, store.sha256, folder, tracker, progress, precision)

    def run(self, last: str | None = None) -> Path:
        """Train the stages up to the one named `last`, all where none is, and give the file of the final model.

        A stage that is finished with the same settings, data and code is taken from its checkpoint; one that was
        interrupted in this folder with the same goes on from its last whole epoch.

        Raises:
            ConfigError: there is no such stage, or classification can be neither learned nor judged on these records.
        """
        stages = stages_until(self.config, last, self.folder.data)
        self.require_classes(stages)
        with self.tracked(stages):
            return self.finish(self.train_stages(stages), stages)

    def require_classes(self, stages: tuple[Stage, ...]) -> None:
        """Raise ConfigError if a stage classifies records of which none, or each, has a label."""
        if any(stage.classifies for stage in stages):
            require_both_classes(self.train, "train")
            require_both_classes(self.validation, "validation")

    @contextmanager
    def tracked(self, stages: tuple[Stage, ...]) -> Iterator[None]:
        """The run as the tracker knows it, while it lasts; one of other data or code is another to the tracker."""
        self.folder.keep_tracked_if(f"{self.data_sha256} {code_digest()}")
        run = self.tracker.run(
            self.folder.path.name,
            tags=self.tags() | {"stages": " ".join(stage.name for stage in stages)},
            params=self.config.model_dump(mode="json"),
            note=self.describe(stages),
            resume=self.folder.tracked("parent"),
        )
        with run as run_id:
            self.folder.note_tracked("parent", run_id)
            self.tracker.log_artifact(self.folder.path / "config.yaml")
            self.log_data()
            yield

    def train_stages(self, stages: tuple[Stage, ...]) -> MultiTaskModel:
        """The model that these stages make of an untrained one."""
        if self.config.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else products on a GPU are refused
        torch.use_deterministic_algorithms(self.config.deterministic)
        model, step = self.new_model(), 0
        for index in range(len(stages)):
            step = self.run_stage(model, stages, index, step)
        if self.config.forest and self.config.learns_to_classify(stages[-1].name):
            self.progress.say(f"growing a forest for each of {len(self.train.label_names)} labels")
            tell = partial(self.progress.work, "growing the forest")
            model.forest = grow_forest(self.config.forest, self.train, self.config.seed, tell)
        return model

    def log_data(self) -> None:
        counts = {"train": len(self.train), "validation": len(self.validation)}
        self.tracker.log_input(self.folder.data.name, self.data_sha256, str(self.folder.data), counts)

    def tags(self) -> dict[str, str]:
        return {
            "seed": str(self.config.seed),
            "encoder": self.config.encoder.kind,
            "labels": self.label_set,
            "data_sha256": self.data_sha256,
            "code_sha256": code_digest(),
            "ecgmtl": __version__,
        }

    def describe(self, stages: tuple[Stage, ...]) -> str:
        """The note on top of the run in MLflow."""
        lines = [
            f"**{self.config.name}**: `{self.config.encoder.kind}` encoder, {len(self.train)} training records, "
            f"label set `{self.label_set}`, validated on {len(self.validation)} records.",
            "",
        ]
        for number, stage in enumerate(stages, 1):
            tasks = " + ".join(stage.losses)
            lines.append(f"{number}. `{stage.name}`: {tasks}; {stage.weighting.kind} weighting, {stage.epochs} epochs")
        if self.config.forest and self.config.learns_to_classify(stages[-1].name):
            lines += ["", f"Then a forest of {self.config.forest.n_trees} trees a label beside the network."]
        return "\n".join(lines)

    def new_model(self) -> MultiTaskModel:
        """An untrained model that knows the training split's scale and the share of each label."""
        torch.manual_seed(self.config.seed)
        counts = {name: labels.shape[1] for name, labels in self.train.auxiliary_labels.items()}
        model = self.config.build_model(self.train.labels.shape[1], counts)
        model.to(self.train.device)
        mean, std = lead_statistics(self.train)
        model.standardize.mean.copy_(mean)
        model.standardize.std.copy_(std)
        for name, shares in prevalence(self.train).items():
            cast("Classifier", model.heads[name]).start_at(shares)
        return model

    @property
    def results(self) -> StageResults:
        return StageResults(self.config, self.label_set, self.data_sha256, self.folder.path)

    def run_stage(self, model: MultiTaskModel, stages: tuple[Stage, ...], index: int, global_step: int) -> int:
        """Bring the model through one stage; give the number of steps that all stages so far have."""
        stage = stages[index]
        finished = self.results.find(stage.name)
        if finished is not None:
            return global_step + self.take_stage(model, stage, finished)
        if stage.start:
            model.load_state_dict(self.weights_after(stage.start))
        key, with_files = self.results.key(stage.name), self.results.with_files(stage)
        config = self.config.model_copy(update={"precision": self.precision})
        training = StageTraining(model, with_files, config, self.train, self.validation, key)
        here = self.folder.stage(index, stage.name)
        require_room(here, model)
        state = here / "state.pt"
        if state.is_file():
            self.go_on(training, state)
        self.folder.rewind(stage.name, training.epoch)
        self.progress.begin(stages, index, training.n_steps, training.epoch * training.n_batches)
        self.train_stage(training, state, global_step)
        provenance = self.tags() | {
            "stage": stage.name,
            "stage_key": key,
            "n_steps": str(training.n_steps),
        }
        identity = Calibration.identity(len(self.train.label_names))
        checkpoint.save(here / MODEL, self.checkpoint(model, identity, provenance))
        state.unlink()
        return global_step + training.n_steps

    def go_on(self, training: StageTraining, state: Path) -> None:
        """From where the stage was interrupted, unless that was with other settings, data or code."""
        kept = checkpoint.load_state(state)
        if kept.get("key") == training.key:
            training.load_state_dict(kept)
        else:
            aside = state.replace(state.with_name("state.other.pt"))
            told = "is of other settings, data or code; the stage begins anew"
            self.progress.say(f"stage {training.stage.name}: {aside} {told}")

    def take_stage(self, model: MultiTaskModel, stage: Stage, finished: Path) -> int:
        """The weights of a finished stage; gives its number of steps."""
        self.progress.say(f"stage {stage.name}: taken from {finished} (same settings, data and code)")
        weights, description = checkpoint.read(finished)
        model.load_state_dict(weights)
        self.folder.adopt_history(stage.name, finished)
        return int(description.provenance["n_steps"])

    def weights_after(self, stage: str) -> dict[str, Tensor]:
        return self.new_model().state_dict() if stage == UNTRAINED else checkpoint.read(self.results.file_of(stage))[0]

    def train_stage(self, training: StageTraining, state: Path, global_step: int) -> None:
        stage = training.stage
        tags = self.tags() | {"stage": stage.name, "weighting": stage.weighting.kind}
        params = stage.model_dump(mode="json")
        child = self.tracker.run(stage.name, tags=tags, params=params, resume=self.folder.tracked(stage.name))

        def report(found: EpochReport) -> None:
            last_step = found.first_step + training.n_batches - 1
            self.folder.append(found.as_line())
            self.tracker.log_steps({f"train/{k}": v for k, v in found.steps.items()}, found.first_step, global_step)
            figures = {f"validation/{name}": value for name, value in found.figures.items()}
            self.tracker.log_metrics(figures, last_step, global_step)
            for step, probed in found.probes.items():
                self.tracker.log_metrics({f"train/{name}": value for name, value in probed.items()}, step, global_step)
            self.progress.epoch(found)

        with child as run_id:
            self.folder.note_tracked(stage.name, run_id)
            training.model.load_state_dict(training.run(report, state, self.progress.advance))

    def finish(self, model: MultiTaskModel, stages: tuple[Stage, ...]) -> Path:
        """Calibrate on the validation split, write the final model and the report on that split."""
        classifies = self.config.learns_to_classify(stages[-1].name)
        calibration = self.calibrate(model) if classifies else Calibration.identity(len(self.train.label_names))
        path = self.folder.path / MODEL
        provenance = self.tags() | {"stage": stages[-1].name, "run": self.folder.path.name}
        if self.tracker.active_run_id:
            provenance["mlflow_run"] = self.tracker.active_run_id
        final = self.checkpoint(model.cpu().eval(), calibration, provenance)
        checkpoint.save(path, final)
        self.tracker.log_artifact(path, "checkpoint")
        self.progress.say("reporting on the validation split")
        report_run(final, self.train, self.validation, self.folder, self.tracker)
        return path

    def calibrate(self, model: MultiTaskModel) -> Calibration:
        logits = infer_logits(model, self.validation)
        return fit_calibration(logits.cpu().double().numpy(), self.validation.labels.cpu().double().numpy())

    def checkpoint(self, model: MultiTaskModel, calibration: Calibration, provenance: dict[str, str]) -> Checkpoint:
        auxiliary = self.train.auxiliary_label_names
        return Checkpoint(
            model, self.config, self.label_set, self.train.label_names, calibration, auxiliary, provenance
        )


def compute_as_before(folder: RunFolder, config: Config, device: torch.device, say: Callable[[str], None]) -> Precision:
    """Take the threads and the precision that the run began with, for others round sums differently."""
    now = {
        "threads": torch.get_num_threads(),
        "precision": resolve(config.precision, device),
        "device": device.type,
    }
    began = folder.computes_as(now)
    torch.set_num_threads(began["threads"])
    if began["device"] != device.type:
        say(f"the run began on {began['device']} and goes on on {device.type}: its weights will differ")
    elif began != now:
        say(f"goes on with {began['threads']} threads in {began['precision']}, as the run began")
    return "bf16" if began["precision"] == "bf16" else "fp32"


def require_room(here: Path, model: MultiTaskModel) -> None:
    """Raise TrainingError where a stage's states and its model do not fit on the disk."""
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    needed, free = WEIGHTS_KEPT * size, shutil.disk_usage(here).free
    if free < needed:
        raise TrainingError(
            f"{here}: a stage needs {needed / 1e6:.1f} MB for its state and its model; {free / 1e6:.1f} MB are free on "
            f"this disk. Free some room, or choose an --out on another disk."
        )


def stages_until(config: Config, last: str | None, data: Path | None) -> tuple[Stage, ...]:
    """Return the stages up to and including the one named `last`, or all of them where it is None.

    Raises:
        ConfigError: the config has no stage of this name. The message names shipped configs that have one.
    """
    if last is None:
        return config.stages
    if last not in {stage.name for stage in config.stages}:
        raise ConfigError(f"--stage {last}: {without_stage(config, last, data)}")
    return config.stages[: config.place_of(last) + 1]


def without_stage(config: Config, name: str, data: Path | None) -> str:
    """Say which stages the config has, and what to type for a shipped config that has the stage."""
    stages = [f"  {stage.name:12}{stage.summary}" for stage in config.stages]
    options = f"--data {shlex.quote(str(data))} " if data else ""
    others = [
        f"  ecgmtl train --config {other} {options}--stage {name}\n    {name}: {stage.summary}"
        for other, stage in with_stage(name).items()
    ]
    shipped = "Shipped configs that have it:" if others else f"No shipped config has a stage {name}."
    return "\n".join([f"the config {config.name} has no such stage. Its stages are:", *stages, shipped, *others])
