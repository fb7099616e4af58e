"""Models of finished stages: their keys, their files, and the models that another stage starts from."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ecgmtl import checkpoint
from ecgmtl.checkpoint import CheckpointError, model_file
from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.identity import code_digest, sha256
from ecgmtl.run_files import MODEL


@dataclass(frozen=True)
class StageResults:
    """Results of the stages of a config."""

    config: Config
    label_set: str
    data_sha256: str
    folder: Path
    """Folder of the run. Models in neighboring folders are used too."""

    def key(self, stage: str) -> str:
        """Return the key of a stage's result. The same settings, data and code give the same key.

        The forest is left out, because it is grown after all stages.
        """
        tree = self.config.model_dump(mode="json", exclude={"stages", "name", "forest"})
        stages = self.config.stages[: self.config.place_of(stage) + 1]
        tree["stages"] = [stage.model_dump(mode="json") for stage in stages]
        tree["heads"] = list(self.config.trunks)  # those of later stages change the random weights
        known = {stage.name for stage in stages}
        files = [model_file(Path(teacher)) for stage in stages for teacher in stage.teachers if teacher not in known]
        tree["teachers"] = [checkpoint.describe(path).weights_sha256 for path in files]
        return sha256(json.dumps([tree, self.label_set, self.data_sha256, code_digest()], sort_keys=True).encode())

    def find(self, stage: str) -> Path | None:
        """Return the model of a stage, or None where it is not finished."""
        return finished_stage(self.key(stage), self.folder)

    def file_of(self, stage: str) -> Path:
        """Return the model of a finished stage.

        Raises:
            CheckpointError: the file no longer exists.
        """
        finished = self.find(stage)
        if finished is None:
            raise CheckpointError(f"{self.folder}: the model of stage {stage} is missing. Resume the run.")
        return finished

    def with_files(self, stage: Stage) -> Stage:
        """Return the stage with the files of its teachers in place of the names of earlier stages."""
        names = {earlier.name for earlier in self.config.stages}
        files = [self.file_of(name) if name in names else model_file(Path(name)) for name in stage.teachers]
        return stage.model_copy(update={"teachers": tuple(map(str, files))})


def finished_stage(key: str, beside: Path) -> Path | None:
    """Return the model of a finished stage with this key, from any run folder beside this one, or None."""
    for path in stage_models(beside):
        try:
            if checkpoint.describe(path).provenance.get("stage_key") == key:
                checkpoint.read(path)
                return path
        except CheckpointError:
            continue  # a damaged or older model is skipped; its own run reports it when it is used
    return None


def stage_models(beside: Path) -> Iterator[Path]:
    """Yield the models of all stages that are finished, in this run's folder and those beside it."""
    yield from sorted(beside.parent.glob(f"*/stages/*/{MODEL}"))
