"""Heads: networks that map an encoder's features to the output of a task."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ecgmtl.model.encoders.blocks import FrameConvolution, ResidualBlock
from ecgmtl.settings import Depth, KernelSize, Settings, Size

RAREST = 1e-3
"""Lower bound of a label's prevalence: a lower one would ask for too confident a head, or too large a weight."""
LOG_VAR_LIMIT = 7.0
"""Limit of a log-variance in both directions, so that no sample counts over e^7 times more than at the start."""


class DecoderSettings(Settings):
    """Settings of the decoder."""

    width: Size = 64
    n_blocks: Depth = 2
    """Number of residual blocks at the frame rate."""
    kernel_size: KernelSize = 5
    leads: Literal[8, 12] = 8
    """Number of leads to reconstruct: the 8 independent ones, which determine the others exactly, or all 12."""
    log_var: bool = False
    """Whether to predict a variance for each sample, for losses that learn the uncertainty of the reconstruction."""

    def build(self, n_features: int, stride: int) -> "Decoder":
        return Decoder(n_features, stride, self)


class Reconstructed(NamedTuple):
    """Output of the decoder for each sample, in standardized units."""

    mean: Float[Tensor, "batch row time"]
    log_var: Float[Tensor, "batch row time"] | None
    """Logarithm of the variance about the mean; None where the decoder predicts none."""

    def first(self, n_samples: int) -> "Reconstructed":
        """Return the first samples, in float32: frames may reach beyond the last sample of a record."""
        log_var = None if self.log_var is None else self.log_var[..., :n_samples].float()
        return Reconstructed(self.mean[..., :n_samples].float(), log_var)


class Decoder(nn.Module):
    """Decoder of 8 or 12 leads, in standardized units. Each frame unfolds into its `stride` samples."""

    fills_in = True

    def __init__(self, n_features: int, stride: int, settings: DecoderSettings) -> None:
        super().__init__()
        width, kernel = settings.width, settings.kernel_size
        self.n_leads = settings.leads
        self.blocks = nn.Sequential(
            FrameConvolution(n_features, width, 1),
            *(ResidualBlock(width, width, kernel, stride=1) for _ in range(settings.n_blocks)),
        )
        # each sample is reconstructed from its frame and the two beside it, so that no seam shows between frames
        self.unfold = FrameConvolution(width, self.n_leads * stride, kernel_size=3, padding=1)
        self.unfold_log_var = self.start_at_one(width, stride) if settings.log_var else None

    def start_at_one(self, width: int, stride: int) -> FrameConvolution:
        """Build a last convolution whose variance is 1, that of standardized signals, before training."""
        unfold = FrameConvolution(width, self.n_leads * stride, kernel_size=3, padding=1)
        for parameter in unfold.parameters():
            nn.init.zeros_(parameter)
        return unfold

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Reconstructed:
        inner = self.blocks(features)
        if self.unfold_log_var is None:
            return Reconstructed(self.in_time(self.unfold(inner)), None)
        unbounded = self.in_time(self.unfold_log_var(inner))
        # tanh, not clamp: beyond its limits a clamp passes no gradient, and a sample could not return
        return Reconstructed(self.in_time(self.unfold(inner)), LOG_VAR_LIMIT * torch.tanh(unbounded / LOG_VAR_LIMIT))

    def in_time(self, unfolded: Float[Tensor, "batch unfolded frame"]) -> Float[Tensor, "batch row time"]:
        """Reorder the values of each frame into samples."""
        batch, _, n_frames = unfolded.shape
        return unfolded.view(batch, self.n_leads, -1, n_frames).transpose(2, 3).reshape(batch, self.n_leads, -1)


class ClassifierSettings(Settings):
    """Settings of the classifiers."""

    dropout: float = Field(0.3, ge=0, lt=1)

    def build(self, n_features: int, n_labels: int) -> "Classifier":
        return Classifier(n_features, n_labels, self.dropout)


def pool(features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch twice"]:
    """Pool each feature over time to its mean and its maximum, for classifiers."""
    return torch.cat([features.mean(dim=-1), features.amax(dim=-1)], dim=-1)


class Classifier(nn.Module):
    """Linear classifier with one logit for each label, from pooled features."""

    reads_pooled = True

    def __init__(self, n_features: int, n_labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.read = nn.Linear(2 * n_features, n_labels)

    def forward(self, pooled: Float[Tensor, "batch twice"]) -> Float[Tensor, "batch label"]:
        return self.read(self.dropout(pooled))

    @torch.no_grad()
    def start_at(self, prevalence: Float[Tensor, " label"]) -> None:
        """Set the bias so that the untrained head predicts each label's prevalence in the training split."""
        self.read.bias.copy_(torch.logit(prevalence, eps=RAREST))


class LatentHead(nn.Module):
    """Head that maps the features of a masked record to those of the unmasked record, frame by frame."""

    fills_in = True

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(n_features, 2 * n_features, 1, bias=False),
            nn.BatchNorm1d(2 * n_features),
            nn.GELU(),
            nn.Conv1d(2 * n_features, n_features, 1),
        )

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch feature frame"]:
        return self.layers(features)


class Projector(nn.Module):
    """Head that projects a record's mean features to the space in which its two views should agree."""

    def __init__(self, n_features: int, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features, n_features, bias=False),
            nn.BatchNorm1d(n_features),
            nn.ReLU(),
            nn.Linear(n_features, width),
        )

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch width"]:
        return self.layers(features.mean(dim=-1))
