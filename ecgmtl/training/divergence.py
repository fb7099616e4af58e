"""Detection of divergence after the steps of an epoch, and after its validation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.files import write_text
from ecgmtl.config.stage import Stage
from ecgmtl.ranks import is_first
from ecgmtl.tracking import names
from ecgmtl.training.batches import Batches
from ecgmtl.training.errors import TrainingError
from ecgmtl.training.step_figures import StepFigures

DIVERGED = "diverged.txt"
"""Name of the list of records in whose batch training diverged."""
REMEDY = "Train again with a lower optimizer.lr."


@dataclass(frozen=True)
class DivergenceCheck:
    """Check of a stage's figures. Its errors say where training diverged and what is kept."""

    stage: Stage
    batches: Batches

    def check_steps(self, figures: StepFigures, epoch: int, folder: Path | None) -> None:
        """Raise TrainingError at the first step with a figure that is not finite or a loss that cannot be negative.

        The records of its batch are listed in the folder.
        """
        left_out = np.isnan(figures.losses) & (figures.weights == 0)
        below = (figures.losses < 0) & ~np.array([task.can_be_negative for task in self.stage.tasks])
        bad = ((~np.isfinite(figures.losses) & ~left_out) | below).any(axis=1)
        others = [figures.weights, *figures.extras.values(), *figures.alone.values(), figures.gradient_norms]
        bad |= ~np.isfinite(np.column_stack(others)).all(axis=1)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise TrainingError(
                f"{self.place(epoch, row)}: training diverged: a loss or its gradient is not finite, or a loss is "
                f"below zero ({listed(zip(self.stage.losses, figures.losses[row], strict=True))})."
                f"{self.list_batch(epoch, row, folder)} {kept_state(epoch)} {REMEDY}"
            )

    def check_validation(self, figures: Mapping[str, float], epoch: int) -> None:
        """Raise TrainingError if a loss on the validation records is not finite."""
        losses = {names.task_of(name): value for name, value in figures.items() if name.startswith(names.LOSS)}
        if not np.isfinite(list(losses.values())).all():
            raise TrainingError(
                f"{self.place(epoch, self.batches.n_batches - 1)}: training diverged: a loss on the validation "
                f"records is not finite ({listed(losses.items())}). {kept_state(epoch)} {REMEDY}"
            )

    def place(self, epoch: int, number: int) -> str:
        """Return a batch of an epoch, both counted from 0, in words for a message."""
        step = epoch * self.batches.n_batches + number + 1
        return f"stage '{self.stage.name}', epoch {epoch + 1}, step {step}"

    def list_batch(self, epoch: int, number: int, folder: Path | None) -> str:
        """Write the names of a batch's records into the stage's folder, and return a sentence that says so.

        Names of files may be names of patients, so the message, which MLflow gets too, does not have them.
        """
        if folder is None or not is_first():
            return ""
        path = folder / DIVERGED
        write_text(path, "".join(f"{name}\n" for name in self.batches.names_of(epoch, number)))
        return f" Its batch is listed in {path}."


def listed(losses: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{task} {value:.3g}" for task, value in losses)


def kept_state(epoch: int) -> str:
    return f"The state after epoch {epoch} is kept." if epoch else "No epoch was finished."
