"""Predicting, from what is seen of a record, the features that the whole of it has."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ecgmtl.tasks.base import Seen


def latent(seen: Seen) -> Float[Tensor, ""]:
    """Mean squared error to the teacher's features, each frame normalized over its features; hidden frames count.

    The teacher is the running mean of the encoder's own weights and sees all (Baevski et al., data2vec, ICML 2022;
    Grill et al., BYOL, NeurIPS 2020, for the predictor that keeps both from agreeing on a constant). A frame counts by
    the share of its samples that is scored; where nothing is hidden in the batch, the loss is 0.
    """
    predicted, target = seen.output.latent, seen.batch.target
    if predicted is None or target is None or seen.batch.scored is None:
        raise ValueError("the latent loss needs a prediction, a teacher's features, and which samples are scored")
    wanted = F.layer_norm(target.transpose(1, 2), target.shape[1:2])
    error = (predicted.transpose(1, 2) - wanted).square().mean(dim=-1)
    weights = F.adaptive_avg_pool1d(seen.batch.scored.mean(dim=1, keepdim=True), error.shape[1])[:, 0]
    return (error * weights).sum() / weights.sum().clamp(min=1)
