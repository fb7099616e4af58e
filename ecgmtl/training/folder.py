"""Folder of a training run.

runs/quick-20261121-101500/
    config.yaml            whole config
    run.json               data, the command, and the ids of the run in MLflow
    history.jsonl          one line for each epoch
    stages/0-pretrain/     model.safetensors once finished, state.pt before
    validation/            report on the validation split
    model.safetensors      final model
"""

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, Field, ValidationError

from data_prep.files import write_text
from data_prep.lock import LOCK
from ecgmtl.config.parse import ConfigError
from ecgmtl.config.run import Config, load_config, parse_config
from ecgmtl.identity import command
from ecgmtl.run_files import CONFIG, HISTORY, RUN, is_run
from ecgmtl.settings import Settings
from ecgmtl.training.history import History, SharedHistory

TRAIN_AGAIN = "restore a copy of it, or train again with another --out, which reuses the finished stages"


class RunFacts(Settings):
    """Contents of run.json. Entries of later versions of ecgmtl are kept."""

    model_config = ConfigDict(extra="allow")

    data: str
    """Path of the prepared folder."""
    command: str = ""
    """Command that started the run. Folders of earlier versions lack it."""
    tracked: dict[str, str | None]
    """MLflow id of the run and of each of its stages."""
    computes: dict[str, int | str] = Field(default_factory=dict)
    """Threads, precision, device and versions with which the run started."""
    of: str = ""
    """Digests of the data and of the code that the MLflow ids belong to."""


@dataclass(frozen=True)
class RunFolder:
    """Folder of a run."""

    path: Path

    @classmethod
    def create(cls, path: Path | None, config: Config, data: Path) -> "RunFolder":
        """Create a folder, by default `runs/<name>-<time>`.

        Raises:
            ConfigError: the folder contains a run, or cannot be written.
        """
        path = path or cls.default_path(config)
        if (path / RUN).exists():
            raise ConfigError(f"{path}: contains a run. Resume it with --resume {path}, or choose another --out.")
        folder = cls(named(path))
        try:
            (path / "stages").mkdir(parents=True, exist_ok=True)
            folder.write_config(config)
            folder.write_facts(RunFacts(data=str(data.resolve()), command=command(), tracked={}))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error}") from error
        return folder

    @staticmethod
    def default_path(config: Config) -> Path:
        return Path("runs") / f"{config.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"

    def remove_unless_begun(self) -> None:
        """Remove what `create` wrote unless an epoch was finished, so that a corrected command can use the folder."""
        stages = self.path / "stages"
        if any(path.is_file() for path in stages.rglob("*")):
            return
        shutil.rmtree(stages, ignore_errors=True)
        with suppress(OSError):  # Windows keeps a file that is locked
            for name in (CONFIG, RUN, HISTORY, LOCK):
                (self.path / name).unlink(missing_ok=True)
            self.path.rmdir()

    @classmethod
    def reopen(cls, path: Path) -> "RunFolder":
        if not is_run(path):
            raise ConfigError(f"--resume {path}: contains no run. The folder of a run has a {RUN}.")
        return cls(named(path))

    @property
    def config(self) -> Config:
        return load_config(self.path / CONFIG)

    @property
    def facts(self) -> RunFacts:
        """Contents of run.json.

        Raises:
            ConfigError: the file is damaged.
        """
        path = self.path / RUN
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: not readable ({error}); {TRAIN_AGAIN}.") from error
        try:
            return RunFacts.model_validate(facts)
        except ValidationError as error:
            raise ConfigError(f"{path}: should contain `data` and the `tracked` runs; {TRAIN_AGAIN}.") from error

    @property
    def data(self) -> Path:
        return Path(self.facts.data)

    @property
    def data_name(self) -> str:
        """Name of the prepared folder and of the one that it lies in."""
        return f"{self.data.parent.name}/{self.data.name}"

    @property
    def command(self) -> str:
        """Command that started the run. Folders of earlier versions lack it."""
        return self.facts.command

    @property
    def history(self) -> History:
        return History(self.path / HISTORY)

    def stage(self, index: int, name: str) -> Path:
        path = self.path / "stages" / f"{index}-{name}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write_facts(self, facts: RunFacts) -> None:
        write_text(self.path / RUN, json.dumps(facts.model_dump(exclude_unset=True), indent=2))

    def update_facts(self, **changes: Any) -> None:
        self.write_facts(self.facts.model_copy(update=changes))

    def tracked(self, name: str) -> str | None:
        """Return the MLflow id of this run or of one of its stages."""
        return self.facts.tracked.get(name)

    def write_config(self, config: Config) -> None:
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        write_text(self.path / CONFIG, text)

    def halve_batch(self, stage: str) -> int:
        """Halve the stage's batches, and return how many records they have now. Its curves in MLflow begin anew.

        Raises:
            ConfigError: a batch of one record cannot be halved.
        """
        tree = self.config.model_dump(mode="json")
        settings = tree["stages"][self.config.place_of(stage)]
        settings["batch_size"] //= 2
        config = parse_config(tree, str(self.path / CONFIG))
        self.write_config(config)
        self.update_facts(tracked={})
        return int(settings["batch_size"])

    def note_tracked(self, name: str, run_id: str | None) -> None:
        self.update_facts(tracked={**self.facts.tracked, name: run_id})

    def computes_as(self, now: dict[str, Any]) -> dict[str, Any]:
        """Return how the run computed when it started: threads, precision, versions.

        The first call stores `now`. A folder of an earlier version lacks some entries. They are taken from `now`, which
        is right, because stages that other code trained are trained again.
        """
        before = self.facts.computes
        start = {**now, **before}
        if start != before:
            self.update_facts(computes=start)
        return start

    def keep_tracked_if(self, of: str) -> bool:
        """Remove the MLflow ids unless they belong to these data and this code. Only then are the curves continued.

        `of` is the digest of the data and that of the code. Return whether the run began with other data.
        """
        facts = self.facts
        earlier = facts.of or of
        self.update_facts(of=of, tracked=facts.tracked if earlier == of else {})
        return earlier.split()[:1] != of.split()[:1]

    def trained(self, model: Path | None) -> bool:
        """Return whether the model of a finished stage is of this run, and not of one beside it."""
        return model is not None and model.parents[2] == self.path

    def adopt_history(self, stage: str, model: Path) -> None:
        """Copy the lines of a stage from the run that trained its model."""
        if self.trained(model):
            return
        self.history.rewind(stage, 0)
        for line in RunFolder(model.parents[2]).history.read():
            if line.stage == stage:
                self.history.append(line)


class SharedFolder(RunFolder):
    """Folder of a run in the other processes of a parallel training, which read it and write nothing."""

    @property
    def history(self) -> History:
        return SharedHistory(self.path / HISTORY)

    def write_facts(self, facts: RunFacts) -> None:
        """Write nothing: the first process does."""

    def remove_unless_begun(self) -> None:
        """Remove nothing: the first process does."""


def named(path: Path) -> Path:
    """Return the folder under its own name. From `.` neither the name nor the folders beside it can be read."""
    return path if path.name not in ("", "..") else path.resolve()
