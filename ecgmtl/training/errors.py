"""Errors of a training that the user can correct."""

from collections.abc import Iterator
from contextlib import contextmanager

from data_prep.errors import UserError
from data_prep.words import counted
from ecgmtl.config.stage import Stage
from ecgmtl.device import is_out_of_memory


class TrainingError(UserError):
    """A training that cannot continue. The message says where it stopped and what is kept."""


class BatchTooLargeError(TrainingError):
    """A batch that needs more memory than there is."""

    def __init__(self, message: str, stage: str = "", batch_size: int = 0) -> None:
        super().__init__(message)
        self.stage, self.batch_size = stage, batch_size


@contextmanager
def refusing_too_large_batches(stage: Stage) -> Iterator[None]:
    """Turn an error for lack of memory into a BatchTooLargeError that names the stage."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        name, size = stage.name, stage.batch_size
        problem = f"stage '{name}': a batch of {counted(size, 'record')} needs more memory than there is"
        remedy = "set a smaller batch_size" if size > 1 else "end other programs, or choose a smaller network"
        message = f"{problem}; {remedy}."
        raise BatchTooLargeError(message, name, size) from error
