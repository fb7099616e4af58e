"""Normalization of an encoder's features: over the batch, over the batch of each view, or of each record by itself."""

from math import gcd
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecgmtl.ranks import is_parallel, mean_over_ranks, n_ranks

Normalization = Literal["batch", "batch_by_view", "group"]

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
"""Norms with one set of running statistics."""

N_GROUPS = 8
"""Number of groups of features in a group norm, where it divides the number of features."""


class BatchNormByView(nn.Module):
    """Batch normalization with running statistics of its own for masked input (Xie et al., AdvProp, CVPR 2020).

    Weights and biases are shared: masked and unmasked records differ in their statistics, not in what is learned.
    """

    running_mean: Tensor
    running_var: Tensor
    masked_mean: Tensor
    masked_var: Tensor

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.momentum, self.eps = norm.momentum or 0.0, norm.eps
        for name in ("running", "masked"):
            self.register_buffer(f"{name}_mean", norm.weight.new_zeros(norm.num_features))
            self.register_buffer(f"{name}_var", norm.weight.new_ones(norm.num_features))
        self.masked = False
        """Whether the input of the next pass is masked."""

    def forward(self, features: Tensor) -> Tensor:
        mean, var = (self.masked_mean, self.masked_var) if self.masked else (self.running_mean, self.running_var)
        if self.training and is_parallel():
            return normalize_over_ranks(features, mean, var, self)
        return F.batch_norm(features, mean, var, self.weight, self.bias, self.training, self.momentum, self.eps)


def normalize_by(encoder: nn.Module, kind: Normalization) -> None:
    """Replace the batch norms of an encoder, whose initial weights are kept."""
    if kind == "batch":
        return
    for parent in list(encoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BatchNorm):
                setattr(parent, name, BatchNormByView(child) if kind == "batch_by_view" else group_norm(child))


def group_norm(norm: BatchNorm) -> nn.GroupNorm:
    """Return a group norm with the weights of a batch norm (Wu and He, ECCV 2018). It has no running statistics."""
    new = nn.GroupNorm(gcd(N_GROUPS, norm.num_features), norm.num_features, norm.eps)
    new.weight, new.bias = norm.weight, norm.bias
    return new


def set_view(encoder: nn.Module, masked: bool) -> None:
    """Set whether the next input is masked, for the norms with statistics of each view."""
    for module in encoder.modules():
        if isinstance(module, BatchNormByView):
            module.masked = masked


class SynchronizedBatchNorm(nn.BatchNorm2d):
    """Batch norm whose batch is that of all processes of a parallel training. It shares the weights of another one.

    torch's own works on GPUs alone.
    """

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        mean, var = self.running_mean, self.running_var
        if self.training and is_parallel() and mean is not None and var is not None:
            return normalize_over_ranks(input, mean, var, self)
        return F.batch_norm(input, mean, var, self.weight, self.bias, self.training, self.momentum or 0.0, self.eps)


def synchronize_norms(model: nn.Module) -> None:
    """Replace the batch norms of a model by synchronized ones with the same weights and statistics."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BatchNorm):
                setattr(parent, name, SynchronizedBatchNorm(child))


def normalize_over_ranks(
    features: Tensor, running_mean: Tensor, running_var: Tensor, norm: BatchNormByView | SynchronizedBatchNorm
) -> Tensor:
    """Normalize features by mean and variance over the batches of all ranks, which are of one size, in float32."""
    axes, shape = [0, *range(2, features.dim())], (1, -1, *[1] * (features.dim() - 2))
    values, momentum = features.float(), norm.momentum or 0.0
    mean = mean_over_ranks(values.mean(axes))
    centered = values - mean.view(shape)
    var = mean_over_ranks(centered.square().mean(axes))
    n_values = n_ranks() * features.numel() // features.shape[1]
    with torch.no_grad():
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * (n_values / max(n_values - 1, 1)), momentum)
    scaled = centered * torch.rsqrt(var + norm.eps).view(shape) * norm.weight.view(shape) + norm.bias.view(shape)
    return scaled.to(features.dtype)
