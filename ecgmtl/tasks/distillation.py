"""Learning what trained models say, which tells more of a record than its labels do."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ecgmtl.tasks.base import Seen


def distillation(seen: Seen) -> Float[Tensor, ""]:
    """Binary cross-entropy to the teachers' mean probabilities (Hinton et al., 2015, with temperature 1).

    The mean over records and labels.
    """
    logits, soft_labels = seen.output.logits, seen.batch.soft_labels
    if logits is None or soft_labels is None:
        raise ValueError("the distillation loss needs logits, and teachers' probabilities; set the stage's teachers")
    return F.binary_cross_entropy_with_logits(logits, soft_labels)
