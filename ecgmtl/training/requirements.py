"""Requirements that the records and processes of a stage must meet before it can train."""

import torch

from ecgmtl.config.stage import Stage
from ecgmtl.data.split import Split
from ecgmtl.ranks import is_parallel, n_ranks
from ecgmtl.training.errors import TrainingError


def require_targets(stage: Stage, train: Split) -> None:
    """Raise TrainingError where a task has targets of its own and no training record has one."""
    for task in stage.tasks:
        if task.name in train.targets and not torch.isfinite(train.targets[task.name]).any():
            raise TrainingError(
                f"stage '{stage.name}' learns {task.name}, but no training record has a value {task.lacks_targets}."
            )


def require_even_shares(stage: Stage, n_records: int) -> None:
    """Raise TrainingError where parallel processes cannot share a batch, or a loss needs all of it at once."""
    size = min(stage.batch_size, n_records)
    if size % (2 * n_ranks()) and is_parallel():
        raise TrainingError(
            f"stage '{stage.name}': batches of {size} records cannot be shared by {n_ranks()} processes, each "
            f"with half of its share from either half; set batch_size to a multiple of {2 * n_ranks()}."
        )
    if stage.n_views > 1 and is_parallel():
        raise TrainingError(
            f"stage '{stage.name}': contrastive compares all records of a batch, of which each process has a "
            f"share; leave contrastive out, or train in one process."
        )
