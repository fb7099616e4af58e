"""History of a run: a file with one line for each epoch, of which only whole lines count."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from data_prep.files import naming, write_text
from ecgmtl.config.parse import ConfigError

WITHOUT_CURVES = "delete the file to continue without the curves of earlier epochs"


@dataclass(frozen=True)
class EpochLine:
    """One epoch of a stage, as the history has it."""

    stage: str
    epoch: int
    """Number of the epoch in its stage, from 0."""
    steps: int
    records: int
    seconds: float
    figures: dict[str, float]
    """Figures by name, such as `validation/macro_auroc`. Those of a step are means over the epoch's steps."""

    def to_json(self) -> str:
        spent = {"steps": self.steps, "records": self.records, "seconds": self.seconds}
        return json.dumps({"stage": self.stage, "epoch": self.epoch, **spent, **self.figures})

    @classmethod
    def of_json(cls, text: str) -> "EpochLine | None":
        """Return the epoch of a line, or None if the line holds something else.

        Raises:
            ValueError, RecursionError: the line is not JSON.
        """
        line = json.loads(text)
        if not isinstance(line, dict):
            return None
        stage, seconds = line.pop("stage", None), line.pop("seconds", None)
        epoch, steps, records = (line.pop(name, None) for name in ("epoch", "steps", "records"))
        is_counted = all(type(number) is int for number in (epoch, steps, records))
        are_figures = all(isinstance(value, int | float) for value in (seconds, *line.values()))
        if not isinstance(stage, str) or not is_counted or not are_figures:
            return None
        return cls(stage, epoch, steps, records, seconds, line)


@dataclass(frozen=True)
class History:
    """History of a run, in its file."""

    path: Path

    def read(self) -> list[EpochLine]:
        """Return the epochs in the order in which they were trained.

        Raises:
            ConfigError: a line is damaged.
        """
        if not self.path.is_file():
            return []
        try:
            lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]  # a killed process leaves half a line
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.path}: not readable ({error}); {WITHOUT_CURVES}.") from error
        return [self._parse(number, line) for number, line in enumerate(lines, 1)]

    def _parse(self, number: int, text: str) -> EpochLine:
        try:
            line = EpochLine.of_json(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{self.path}, line {number}: not readable ({error}); {WITHOUT_CURVES}.") from error
        if line is None:
            raise ConfigError(f"{self.path}, line {number}: should be the figures of an epoch; {WITHOUT_CURVES}.")
        return line

    def require(self, stage: str, n_epochs: int, later: Collection[str] = ()) -> None:
        """Require the last of the epochs for which a stage was trained, or any epoch of the stages after it.

        A deleted history is no fault. It begins again at the next epoch, so later stages may be all that it has.

        Raises:
            ConfigError: the history was emptied or cut off.
        """
        if not self.path.is_file():
            return
        lines = self.read()
        if not any(line.stage in later or (line.stage == stage and line.epoch >= n_epochs - 1) for line in lines):
            raise ConfigError(
                f"{self.path}: lacks epoch {n_epochs} of stage '{stage}', which was trained; restore a copy of it, or "
                f"{WITHOUT_CURVES}."
            )

    def rewind(self, stage: str, epoch: int) -> None:
        """Remove a stage's lines from this epoch on. Its state was not kept, so these epochs are trained again.

        Raises:
            ConfigError: the history lacks the epoch before it.
        """
        if epoch:
            self.require(stage, epoch)
        kept = [line for line in self.read() if line.stage != stage or line.epoch < epoch]
        if kept:
            write_text(self.path, "".join(line.to_json() + "\n" for line in kept))
        else:
            self.path.unlink(missing_ok=True)  # an empty file is one that was emptied

    def append(self, line: EpochLine) -> None:
        with naming(self.path), self.path.open("a") as file:
            file.write(line.to_json() + "\n")


class SharedHistory(History):
    """History in the other processes of a parallel training. The first one writes it, and requires that it is whole."""

    def require(self, stage: str, n_epochs: int, later: Collection[str] = ()) -> None:
        """Require nothing."""

    def rewind(self, stage: str, epoch: int) -> None:
        """Remove nothing."""

    def append(self, line: EpochLine) -> None:
        """Write nothing."""
