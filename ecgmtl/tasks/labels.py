"""Statistics of a training split's labels and targets."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ecgmtl.data.split import Split
from ecgmtl.tasks import MAIN, PREFIX, Task


def prevalence(split: Split) -> dict[str, Float[Tensor, " label"]]:
    """Return the fraction of labeled records that have each label, by classification task."""
    labeled = torch.from_numpy(split.labeled).to(split.device)
    further = {PREFIX + name: labels for name, labels in split.auxiliary_labels.items()}
    return {task: labels[labeled].mean(dim=0) for task, labels in ({MAIN: split.labels} | further).items()}


def with_targets(train: Split, validation: Split, tasks: Iterable[Task]) -> tuple[Split, Split]:
    """Return both splits with the targets of tasks that have targets of their own."""
    encoded = {task.name: pair for task in tasks if (pair := task.encode(train, validation)) is not None}
    first, second = (
        replace(split, targets={name: pair[index].to(split.device) for name, pair in encoded.items()})
        for index, split in enumerate((train, validation))
    )
    return first, second
