"""Statistics of a training split's labels and targets."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
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


def with_targets(split: Split, tasks: Iterable[Task]) -> Split:
    """Return the split with the targets of tasks that have a column. A missing column gives no record a value."""
    targets = {}
    for task in tasks:
        if task.column is None:
            continue
        column = split.columns.get(task.column, np.full(len(split), np.nan))
        encoded = task.targets(column)
        targets[task.name] = torch.from_numpy(encoded).to(split.device)
    return replace(split, targets=targets)
