"""A whole run: its stages in order, calibration, and a report. Finished stages are loaded."""

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from data_prep.store.open import Store
from data_prep.words import counted
from ecgmtl import checkpoint
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.config.parse import ConfigError
from ecgmtl.config.run import Config
from ecgmtl.config.shipped import with_stage
from ecgmtl.config.stage import UNTRAINED, Stage
from ecgmtl.data.split import Split, lead_statistics, load_split, require_both_classes
from ecgmtl.device import Precision, pick_device, resolve
from ecgmtl.evaluation.protocols import infer_logits
from ecgmtl.identity import changed_versions, versions
from ecgmtl.metrics.calibration import Calibration, fit_calibration
from ecgmtl.metrics.typicality import Typicality, fit_typicality
from ecgmtl.model.forest.grow import grow_forest
from ecgmtl.model.heads import Classifier
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.model.normalization import synchronize_norms
from ecgmtl.ranks import is_first, is_parallel, leave, wait_for_all
from ecgmtl.run_files import MODEL
from ecgmtl.tasks import build_task
from ecgmtl.tasks.labels import prevalence
from ecgmtl.tracking.tracker import Tracker
from ecgmtl.training.errors import TrainingError
from ecgmtl.training.finished import StageResults
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.record import RunCallbacks, RunRecord
from ecgmtl.training.report import headline, report_run
from ecgmtl.training.sample_key import SampleKey
from ecgmtl.training.stage import StageTraining
from ecgmtl.training.state_file import load_state

WEIGHTS_KEPT = 11
"""Multiple of the size of the weights: two states (network, EMA, best epoch, two moments of Adam) and the model."""
FORK_KEPT = 10
"""Multiple that a fork adds: two states of the second branch (network, EMA, two moments of Adam) and of the merge."""
OTHER_FILES = 1_000_000
"""Bytes of a run's other files. Pictures take half of them, and history, metrics and report little."""


@dataclass(frozen=True)
class Schedule:
    """Stages of a config in order, with their data and the record of the run."""

    config: Config
    train: Split
    validation: Split
    record: RunRecord
    precision: Precision = "auto"
    """Precision with which the run started."""

    @classmethod
    def prepare(cls, store: Store, folder: RunFolder, tracker: Tracker, progress: RunCallbacks) -> "Schedule":
        """Load both splits of a store, and select the records and labels that the config trains and validates on."""
        config, device = folder.config, pick_device()
        labels = config.labels or store.default_labels
        train = load_split(store, "train", labels, config.auxiliary_labels, device)
        validation = load_split(store, "validation", labels, config.auxiliary_labels, device)
        if config.unlabeled == "drop":
            train = train.select(train.labels.sum(dim=1).cpu().numpy() > 0)
        if config.validation_share is not None:
            held_out = train.sample_patients(config.validation_share, (config.seed, SampleKey.VALIDATION))
            train, validation = train.select(~held_out), train.select(held_out)
        if config.label_share < 1:
            train = replace(train, labeled=train.sample_patients(config.label_share, (config.seed, SampleKey.LABELED)))
        precision = compute_as_before(folder, config, device, progress.say)
        n_records = {"train": len(train), "validation": len(validation)}
        record = RunRecord(config, labels, store.sha256, n_records, folder, tracker, progress)
        return cls(config, train, validation, record, precision)

    def run(self, last: str | None = None, register: str | None = None) -> Path:
        """Train the stages up to the one named `last`, or all of them, and return the file of the final model.

        Finished stages with the same settings, data and code are loaded from their checkpoints. An interrupted stage
        resumes from its last complete epoch. `register` is a name under which MLflow registers the classifier.

        Raises:
            ConfigError: there is no such stage, no stage trains the classifier that is to be registered, or the
                history of a resumed run was cut off.
            StoreError: classification can be neither trained nor evaluated on these records.
        """
        stages = stages_until(self.config, last, self.record.folder.data)
        if register is not None and not self.config.learns_to_classify(stages[-1].name):
            raise ConfigError(
                f"--register {register}: the model after stage {stages[-1].name} has not learned to classify, and only "
                "classifiers are registered. Train a stage that learns classification."
            )
        self.require_classes(stages)
        finished = self.finished(stages)
        self.require_room([stage for stage in stages if stage.name not in finished])
        self.require_history([stage for stage in stages if self.record.folder.trained(finished.get(stage.name))])
        with self.record.open(stages):
            trained = self.train_stages(stages)
            if not is_first():
                return self.record.folder.path / MODEL  # only the first process writes it
            model = self.finish(trained, stages)
            if register is not None:
                self.register(register)
            return model

    def register(self, name: str) -> None:
        """Register the run's classifier in MLflow and say under which URI."""
        uri = self.record.tracker.register_model(name)
        again = f"ecgmtl train --resume {shlex.quote(str(self.record.folder.path))} --register {shlex.quote(name)}"
        self.record.progress.say(f"registered: {uri}" if uri else f"not registered; try again with: {again}")

    def require_classes(self, stages: tuple[Stage, ...]) -> None:
        """Raise StoreError if a stage classifies records of which none, or each, has a label."""
        if any(stage.classifies for stage in stages):
            require_both_classes(self.train, "train")
            require_both_classes(self.validation, "validation")

    def require_room(self, left: Sequence[Stage]) -> None:
        """Raise TrainingError if the files of the stages that are left to train do not fit on the disk."""
        folder = self.record.folder.path
        # a finished stage leaves one model, beside which the next stage writes
        n_kept = max((i + WEIGHTS_KEPT + FORK_KEPT * bool(stage.fork) for i, stage in enumerate(left)), default=1)
        weights = self.build_model().state_dict().values()
        needed = n_kept * sum(value.numel() * value.element_size() for value in weights) + OTHER_FILES
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise TrainingError(
                f"{folder}: the run needs {needed / 1e6:.1f} MB for its states, models and pictures; {free / 1e6:.1f} "
                "MB are free on this disk. Free some space, or choose an --out on another disk."
            )

    def finished(self, stages: tuple[Stage, ...]) -> dict[str, Path]:
        """Return the models of those stages that are finished, by the stage's name."""
        return {stage.name: model for stage in stages if (model := self.results.find(stage.name)) is not None}

    def require_history(self, own: Sequence[Stage]) -> None:
        """Raise ConfigError if the history lacks the last of the stages that this run itself finished."""
        if own:
            last = own[-1]
            later = [stage.name for stage in self.config.stages[self.config.place_of(last.name) + 1 :]]
            self.record.folder.history.require(last.name, last.epochs if last.patience is None else 1, later)

    def train_stages(self, stages: tuple[Stage, ...]) -> MultiTaskModel:
        """Train an untrained model through these stages and return it."""
        if self.config.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else products on a GPU are refused
        torch.use_deterministic_algorithms(self.config.deterministic)
        model, step = self.new_model(), 0
        for index in range(len(stages)):
            step = self.run_stage(model, stages, index, step)
        leave()  # of the processes of a parallel training, the first one goes on alone
        if is_first() and self.config.forest and self.config.learns_to_classify(stages[-1].name):
            self.record.progress.say(f"training boosted trees for {counted(len(self.train.label_names), 'label')}")
            report_tree = partial(self.record.progress.work, "growing the forest")
            model.forest = grow_forest(self.config.forest, self.train, self.config.seed, report_tree)
        return model

    def new_model(self) -> MultiTaskModel:
        """Build an untrained model, with the training split's scale and the fraction of each label."""
        torch.manual_seed(self.config.seed)
        model = self.build_model()
        model.to(self.train.device)
        mean, std = lead_statistics(self.train)
        model.standardize.mean.copy_(mean)
        model.standardize.std.copy_(std)
        known = prevalence(self.train)
        for name, head in model.heads.items():
            if (labels := build_task(name).labeled_as) in known:
                cast("Classifier", head).start_at(known[labels])
        if is_parallel():
            synchronize_norms(model)
        return model

    def build_model(self) -> MultiTaskModel:
        """Build an untrained model, with the heads that the labels need."""
        counts = {name: labels.shape[1] for name, labels in self.train.auxiliary_labels.items()}
        return self.config.build_model(self.train.labels.shape[1], counts)

    @property
    def results(self) -> StageResults:
        return StageResults(self.config, self.record.label_set, self.record.data_sha256, self.record.folder.path)

    def run_stage(self, model: MultiTaskModel, stages: tuple[Stage, ...], index: int, global_step: int) -> int:
        """Train the model through one stage, and return the number of steps of all stages so far."""
        stage = stages[index]
        finished = self.results.find(stage.name)
        if finished is not None:
            return global_step + self.load_stage(model, stage, finished)
        if stage.start:
            model.load_state_dict(self.weights_after(stage.start))
        key, with_files = self.results.key(stage.name), self.results.with_files(stage)
        config = self.config.model_copy(update={"precision": self.precision})
        training = StageTraining(model, with_files, config, self.train, self.validation, key)
        here = self.record.folder.stage(index, stage.name)
        state = here / "state.pt"
        if state.is_file():
            self.resume(training, state)
        self.record.folder.history.rewind(stage.name, training.epoch)
        self.record.progress.begin(stages, index, training.n_steps, training.epoch * training.n_batches)
        with self.record.open_stage(stage, global_step) as report:
            model.load_state_dict(training.run(report, state, self.record.progress.advance))
        if is_first():
            provenance = self.record.provenance(stage, stage_key=key, n_steps=str(training.n_steps))
            identity = Calibration.identity(len(self.train.label_names))
            checkpoint.save(here / MODEL, self.checkpoint(model, identity, provenance))
            state.unlink()
        wait_for_all()  # the next stage may start from this one
        return global_step + training.n_steps

    def resume(self, training: StageTraining, state: Path) -> None:
        """Resume the stage where it was interrupted, unless the settings, data or code have changed."""
        kept = load_state(state)
        wait_for_all()  # before the file is moved
        if kept.get("key") == training.key:
            training.load_state_dict(kept)
        else:
            aside = state.with_name("state.other.pt")
            if is_first():
                state.replace(aside)
            message = "has different settings, data or code; the stage starts again"
            self.record.progress.say(f"stage {training.stage.name}: {aside} {message}")

    def load_stage(self, model: MultiTaskModel, stage: Stage, finished: Path) -> int:
        """Load the weights of a finished stage, and return its number of steps."""
        weights, description = checkpoint.read(finished)
        changed = changed_versions(description.provenance.get("versions", versions()), versions())
        trained = f"same settings, data and code{f'; trained with {changed}' if changed else ''}"
        self.record.progress.say(f"stage {stage.name}: loaded from {finished} ({trained})")
        model.load_state_dict(weights)
        self.record.folder.adopt_history(stage.name, finished)
        return int(description.provenance["n_steps"])

    def weights_after(self, stage: str) -> dict[str, Tensor]:
        return self.new_model().state_dict() if stage == UNTRAINED else checkpoint.read(self.results.file_of(stage))[0]

    def finish(self, model: MultiTaskModel, stages: tuple[Stage, ...]) -> Path:
        """Calibrate on the validation split, write the final model and the report on that split."""
        classifies = self.config.learns_to_classify(stages[-1].name)
        calibration = self.calibrate(model) if classifies else Calibration.identity(len(self.train.label_names))
        folder, tracker = self.record.folder, self.record.tracker
        path = folder.path / MODEL
        final = self.checkpoint(model.cpu().eval(), calibration, self.record.final_provenance(stages[-1]))
        final = replace(final, typicality=self.typicality() if classifies else None)
        checkpoint.save(path, final)
        tracker.log_artifact(path, "checkpoint")
        self.record.progress.say("reporting on the validation split")
        self.record.progress.say(headline(report_run(final, self.train, self.validation, folder, tracker)))
        return path

    def calibrate(self, model: MultiTaskModel) -> Calibration:
        logits = infer_logits(model, self.validation)
        return fit_calibration(logits, self.validation.labels.cpu().numpy(), self.validation.patients)

    def typicality(self) -> Typicality | None:
        """Describe the training records, so that records unlike them can be detected."""
        train, validation = ((b.signals.cpu().numpy() for b in s.in_order()) for s in (self.train, self.validation))
        return fit_typicality(train, validation, self.train.fs)

    def checkpoint(self, model: MultiTaskModel, calibration: Calibration, provenance: dict[str, str]) -> Checkpoint:
        auxiliary = self.train.auxiliary_label_names
        return Checkpoint(
            model, self.config, self.record.label_set, self.train.label_names, calibration, auxiliary, provenance
        )


def compute_as_before(folder: RunFolder, config: Config, device: torch.device, say: Callable[[str], None]) -> Precision:
    """Use the threads and precision with which the run started, because sums round differently with others."""
    now: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "precision": resolve(config.precision, device),
        "device": device.type,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "versions": versions(),
    }
    start = folder.computes_as(now)
    torch.set_num_threads(start["threads"])
    changed = changed_versions(start["versions"], now["versions"])
    if start["instructions"] != now["instructions"]:
        changed = ", ".join(filter(None, [changed, f"{start['instructions']} instead of {now['instructions']}"]))
    if changed:
        say(f"the run started with {changed}: its weights may differ")
    if start["device"] != device.type:
        say(f"the run started on {start['device']} and continues on {device.type}: its weights will differ")
    elif (start["threads"], start["precision"]) != (now["threads"], now["precision"]):
        say(f"continues with {start['threads']} threads in {start['precision']}, with which the run started")
    return "bf16" if start["precision"] == "bf16" else "fp32"


def stages_until(config: Config, last: str | None, data: Path | None) -> tuple[Stage, ...]:
    """Return the stages up to and including the one named `last`, or all of them where it is None.

    Raises:
        ConfigError: the config has no stage of this name. The message names shipped configs that have one.
    """
    if last is None:
        return config.stages
    if last not in {stage.name for stage in config.stages}:
        raise ConfigError(f"--stage {last}: {describe_stages(config, last, data)}")
    return config.stages[: config.place_of(last) + 1]


def describe_stages(config: Config, name: str, data: Path | None) -> str:
    """Say which stages the config has, and what to type for a shipped config that has the stage."""
    stages = [f"  {stage.name:12}{stage.summary}" for stage in config.stages]
    options = f"--data {shlex.quote(str(data))} " if data else ""
    others = [
        f"  ecgmtl train --config {other} {options}--stage {name}\n    {name}: {stage.summary}"
        for other, stage in with_stage(name).items()
    ]
    shipped = "Shipped configs that have it:" if others else f"No shipped config has a stage {name}."
    return "\n".join([f"the config {config.name} has no such stage. Its stages are:", *stages, shipped, *others])
