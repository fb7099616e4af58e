"""The record of a run: its folder, MLflow and the terminal behind one face."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from ecgmtl import __version__
from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.identity import code_digest
from ecgmtl.tracking import names
from ecgmtl.tracking.tracker import Tracker
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.stage import EpochReport

PARENT = "parent"
"""Name of the whole run, among its stages, in the run's folder."""


class Progress(NamedTuple):
    """Callbacks by which a run reports what it is doing. The command line displays it."""

    begin: Callable[[tuple[Stage, ...], int, int, int], None]
    """The stages of the run, the index of the one that begins, its number of steps, and how many are done already."""
    advance: Callable[[], None]
    """A step is done."""
    epoch: Callable[[EpochReport], None]
    say: Callable[[str], None]
    work: Callable[[str, int, int], None]
    """What is done beside the stages, how far that is, and how far it goes."""


@dataclass(frozen=True)
class RunRecord:
    """A run's settings and data, and the three places where its course is noted."""

    config: Config
    label_set: str
    data_sha256: str
    n_records: dict[str, int]
    """Number of records by split."""
    folder: RunFolder
    tracker: Tracker
    progress: Progress

    @contextmanager
    def open(self, stages: tuple[Stage, ...]) -> Iterator[None]:
        """Track the run while it lasts. A run with other data or code is a new one to the tracker."""
        self.folder.keep_tracked_if(f"{self.data_sha256} {code_digest()}")
        run = self.tracker.run(
            self.folder.path.name,
            tags=self.tags() | {"stages": " ".join(stage.name for stage in stages)},
            params=self.config.model_dump(mode="json"),
            note=self.describe(stages),
            resume=self.folder.tracked(PARENT),
        )
        with run as run_id:
            self.folder.note_tracked(PARENT, run_id)
            self.tracker.log_artifact(self.folder.path / "config.yaml")
            self.log_data()
            yield

    @contextmanager
    def open_stage(self, stage: Stage, first_step: int) -> Iterator[Callable[[EpochReport], None]]:
        """Track a stage within the run and yield what its epochs are reported to.

        `first_step` is the number of the run's steps before the stage.
        """
        tags = self.tags() | {"stage": stage.name, "weighting": stage.weighting.kind}
        params = stage.model_dump(mode="json")
        with self.tracker.run(stage.name, tags=tags, params=params, resume=self.folder.tracked(stage.name)) as run_id:
            self.folder.note_tracked(stage.name, run_id)
            yield lambda epoch: self.write_epoch(epoch, first_step)

    def write_epoch(self, epoch: EpochReport, first_step: int) -> None:
        """Note an epoch in the history, in MLflow and on the terminal."""
        self.folder.append(epoch.as_line())
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
        """Return what a model that the stage leaves is stored with."""
        return self.tags() | {"stage": stage.name} | facts

    def final_provenance(self, stage: Stage) -> dict[str, str]:
        """Return what the model of the whole run is stored with."""
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
            tasks = " + ".join(stage.losses)
            lines.append(f"{number}. `{stage.name}`: {tasks}; {stage.weighting.kind} weighting, {stage.epochs} epochs")
        if self.config.forest and self.config.learns_to_classify(stages[-1].name):
            lines += ["", f"Then boosted trees beside the network, {self.config.forest.n_trees} for each label."]
        return "\n".join(lines)
