"""What the processes of a parallel training have in common."""

import torch.distributed as dist
from torch import Tensor


def average_over_ranks(values: Tensor) -> Tensor:
    """The mean over the ranks of a parallel training; the values themselves where there is but one process."""
    if not (dist.is_available() and dist.is_initialized()):
        return values
    summed = values.clone()
    dist.all_reduce(summed)  # a sum: not every backend knows the mean
    return summed / dist.get_world_size()
