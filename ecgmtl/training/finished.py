"""The models that finished stages left: what tells them apart, where they lie, and which of them a stage builds on."""

import json
from dataclasses import dataclass
from pathlib import Path

from ecgmtl import checkpoint
from ecgmtl.checkpoint import CheckpointError, model_file
from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.identity import code_digest, sha256
from ecgmtl.training.folder import finished_stage


@dataclass(frozen=True)
class StageResults:
    """Those of a config's stages."""

    config: Config
    label_set: str
    data_sha256: str
    folder: Path
    """The run's; models may also lie in the folders beside it."""

    def key(self, stage: str) -> str:
        """Identifies the result of a stage: the same settings, data and code give the same key.

        The forest is grown after all of them.
        """
        tree = self.config.model_dump(mode="json", exclude={"stages", "name", "forest"})
        stages = self.config.stages[: self.config.place_of(stage) + 1]
        tree["stages"] = [stage.model_dump(mode="json") for stage in stages]
        tree["heads"] = list(self.config.trunks)  # those of later stages count too, for they change random weights
        known = {stage.name for stage in stages}
        files = [model_file(Path(teacher)) for stage in stages for teacher in stage.teachers if teacher not in known]
        tree["teachers"] = [checkpoint.describe(path).weights_sha256 for path in files]
        return sha256(json.dumps([tree, self.label_set, self.data_sha256, code_digest()], sort_keys=True).encode())

    def find(self, stage: str) -> Path | None:
        """The model of a stage; None where it is not finished."""
        return finished_stage(self.key(stage), self.folder)

    def file_of(self, stage: str) -> Path:
        """The model of a stage that is finished.

        Raises:
            CheckpointError: it has been taken away.
        """
        finished = self.find(stage)
        if finished is None:
            raise CheckpointError(f"{self.folder}: the model of stage {stage} is gone; resume the run.")
        return finished

    def with_files(self, stage: Stage) -> Stage:
        """The stage with its teachers as files, those that are earlier stages too."""
        names = {earlier.name for earlier in self.config.stages}
        files = [self.file_of(name) if name in names else model_file(Path(name)) for name in stage.teachers]
        return stage.model_copy(update={"teachers": tuple(map(str, files))})
