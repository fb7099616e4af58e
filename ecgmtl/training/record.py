"""Record of a run: one interface to its folder, MLflow and the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from ecgmtl import __version__
from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.identity import code_digest, commit, versions
from ecgmtl.run_files import CONFIG
from ecgmtl.tracking import names
from ecgmtl.tracking.tracker import Tracker
from ecgmtl.training.epoch_report import EpochReport
from ecgmtl.training.folder import RunFolder

PARENT = "parent"
"""Name of the whole run, among its stages, in the run's folder."""


class RunCallbacks(NamedTuple):
    """Callbacks by which a run reports its progress. The command line displays it."""

    begin: Callable[[tuple[Stage, ...], int, int, int], None]
    """Stages of the run, index of the one that begins, its number of steps, and how many of them are done already."""
    advance: Callable[[], None]
    """Called after every step."""
    epoch: Callable[[EpochReport], None]
    say: Callable[[str], None]
    work: Callable[[str, int, int], None]
    """Name of work outside the stages, how many of its parts are done, and how many there are."""


SILENT = RunCallbacks(lambda *_: None, lambda: None, lambda _: None, lambda _: None, lambda *_: None)
"""Callbacks that display nothing."""


@dataclass(frozen=True)
class RunRecord:
    """Settings and data of a run, with its records: the folder, MLflow and the terminal."""

    config: Config
    label_set: str
    data_sha256: str
    n_records: dict[str, int]
    """Number of records by split."""
    folder: RunFolder
    tracker: Tracker
    progress: RunCallbacks

    @contextmanager
    def open(self, stages: tuple[Stage, ...]) -> Iterator[None]:
        """Log the run while it lasts. With other data or code than before, it is a new run to the tracker."""
        if self.folder.keep_tracked_if(f"{self.data_sha256} {code_digest()}"):
            self.progress.say(f"{self.folder.data} has changed since the run began: its stages are trained again")
        run = self.tracker.run(
            self.folder.path.name,
            tags=self.tags() | {"stages": " ".join(stage.name for stage in stages)},
            params=self.config.model_dump(mode="json"),
            note=self.describe(stages),
            resume=self.folder.tracked(PARENT),
        )
        with run as run_id:
            self.folder.note_tracked(PARENT, run_id)
            self.tracker.log_artifact(self.folder.path / CONFIG)
            self.log_data()
            if self.config.learns_to_classify(stages[-1].name):
                self.tracker.announce(names.final("validation", names.MACRO_AUROC))
            yield

    @contextmanager
    def open_stage(self, stage: Stage, first_step: int) -> Iterator[Callable[[EpochReport], None]]:
        """Log a stage within the run and yield the function that its epochs are reported to.

        `first_step` is the number of the run's steps before the stage.
        """
        tags = self.tags() | {"stage": stage.name, "weighting": stage.weighting.kind}
        params = stage.model_dump(mode="json")
        with self.tracker.run(stage.name, tags=tags, params=params, resume=self.folder.tracked(stage.name)) as run_id:
            self.folder.note_tracked(stage.name, run_id)
            yield lambda epoch: self.write_epoch(epoch, first_step)

    def write_epoch(self, epoch: EpochReport, first_step: int) -> None:
        """Write an epoch to the history, to MLflow and to the terminal."""
        self.folder.history.append(epoch.as_line())
        self.tracker.log_steps({names.train(k): v for k, v in epoch.steps.items()}, epoch.first_step, first_step)
        figures = {names.validation(name): value for name, value in epoch.figures.items()}
        self.tracker.log_metrics(figures, epoch.last_step, first_step)
        for step, probed in epoch.probes.items():
            self.tracker.log_metrics({names.train(name): value for name, value in probed.items()}, step, first_step)
        self.progress.epoch(epoch)

    def log_data(self) -> None:
        self.tracker.log_input(self.folder.data.name, self.data_sha256, str(self.folder.data), self.n_records)

    def tags(self) -> dict[str, str]:
        return {
            "seed": str(self.config.seed),
            "encoder": self.config.encoder.kind,
            "labels": self.label_set,
            "data_sha256": self.data_sha256,
            "code_sha256": code_digest(),
            "ecgmtl": __version__,
        }

    def provenance(self, stage: Stage, **facts: str) -> dict[str, str]:
        """Return the facts that are stored with the model of a stage: its settings, data, code and command."""
        folder = self.folder
        origin = {"command": folder.command, "commit": commit(), "data": folder.data_name, "versions": versions()}
        return self.tags() | {name: fact for name, fact in origin.items() if fact} | {"stage": stage.name} | facts

    def final_provenance(self, stage: Stage) -> dict[str, str]:
        """Return the facts that are stored with the model of the whole run."""
        run_id = self.tracker.active_run_id
        return self.provenance(stage, run=self.folder.path.name, **({"mlflow_run": run_id} if run_id else {}))

    def describe(self, stages: tuple[Stage, ...]) -> str:
        """Return the note at the top of the run in MLflow."""
        lines = [
            f"**{self.config.name}**: `{self.config.encoder.kind}` encoder, {self.n_records['train']} training "
            f"records, label set `{self.label_set}`, validated on {self.n_records['validation']} records.",
            "",
        ]
        for number, stage in enumerate(stages, 1):
            lines.append(f"{number}. `{stage.name}`: {stage.summary}")
        if self.config.forest and self.config.learns_to_classify(stages[-1].name):
            lines += ["", f"Then {self.config.forest.n_trees} boosted trees for each label, beside the network."]
        return "\n".join(lines)
