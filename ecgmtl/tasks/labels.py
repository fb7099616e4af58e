"""What the labels of a training split tell before anything is learnt."""

import torch
from jaxtyping import Float
from torch import Tensor

from ecgmtl.data.split import Split
from ecgmtl.tasks import MAIN, SECOND


def prevalence(split: Split) -> dict[str, Float[Tensor, " label"]]:
    """By task, the share of the labelled records that have each label."""
    labelled = torch.from_numpy(split.labelled).to(split.device)
    further = {SECOND + name: labels for name, labels in split.auxiliary_labels.items()}
    return {task: labels[labelled].mean(dim=0) for task, labels in ({MAIN: split.labels} | further).items()}
