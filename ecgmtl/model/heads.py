"""What stands on the shared features: a decoder that redraws the waveform, classifiers that read labels."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ecgmtl.model.encoders.blocks import FrameConvolution, ResidualBlock
from ecgmtl.settings import Depth, KernelSize, Settings, Size

RAREST = 1e-3
"""The least share of a label that is counted with: a rarer one would need too sure a head, or too great a weight."""
LOG_VAR_LIMIT = 7.0
"""A log-variance lies between minus this and this, so no sample counts over e^7 times more than at the start."""


class DecoderSettings(Settings):
    width: Size = 64
    n_blocks: Depth = 2
    """Residual blocks at the rate of the frames."""
    kernel_size: KernelSize = 5
    leads: Literal[8, 12] = 8
    """How many leads are drawn: the 8 independent ones, from which the others follow exactly, or each by itself."""
    log_var: bool = False
    """Draw a variance beside each sample, for losses that learn how sure the reconstruction is."""

    def build(self, n_features: int, stride: int) -> "Decoder":
        return Decoder(n_features, stride, self)


class Reconstructed(NamedTuple):
    """What the decoder gives for each sample, in standardized units."""

    mean: Float[Tensor, "batch drawn time"]
    log_var: Float[Tensor, "batch drawn time"] | None
    """Logarithm of the variance about the mean; None where the decoder gives none."""

    def first(self, n_samples: int) -> "Reconstructed":
        """Return the first samples, in float32: frames may reach beyond the last sample of a record."""
        log_var = None if self.log_var is None else self.log_var[..., :n_samples].float()
        return Reconstructed(self.mean[..., :n_samples].float(), log_var)


class Decoder(nn.Module):
    """Draws 8 or 12 leads, in standardized units: each frame unfolds into its `stride` samples."""

    def __init__(self, n_features: int, stride: int, settings: DecoderSettings) -> None:
        super().__init__()
        width, kernel = settings.width, settings.kernel_size
        self.n_leads = settings.leads
        self.blocks = nn.Sequential(
            FrameConvolution(n_features, width, 1),
            *(ResidualBlock(width, width, kernel, stride=1) for _ in range(settings.n_blocks)),
        )
        # each sample is drawn from its frame and the two beside it, so that no seam shows where frames meet
        self.unfold = FrameConvolution(width, self.n_leads * stride, kernel_size=3, padding=1)
        self.unfold_log_var = self.start_at_one(width, stride) if settings.log_var else None

    def start_at_one(self, width: int, stride: int) -> FrameConvolution:
        """A last convolution whose variance is that of standardized signals until it has learnt."""
        unfold = FrameConvolution(width, self.n_leads * stride, kernel_size=3, padding=1)
        for parameter in unfold.parameters():
            nn.init.zeros_(parameter)
        return unfold

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Reconstructed:
        inner = self.blocks(features)
        if self.unfold_log_var is None:
            return Reconstructed(self.in_time(self.unfold(inner)), None)
        free = self.in_time(self.unfold_log_var(inner))
        # bent, not cut off: where a clamp holds, it lets no gradient through, and a sample could not come back
        return Reconstructed(self.in_time(self.unfold(inner)), LOG_VAR_LIMIT * torch.tanh(free / LOG_VAR_LIMIT))

    def in_time(self, unfolded: Float[Tensor, "batch row frame"]) -> Float[Tensor, "batch drawn time"]:
        batch, _, n_frames = unfolded.shape
        return unfolded.view(batch, self.n_leads, -1, n_frames).transpose(2, 3).reshape(batch, self.n_leads, -1)


class ClassifierSettings(Settings):
    dropout: float = Field(0.3, ge=0, lt=1)

    def build(self, n_features: int, n_labels: int) -> "Classifier":
        return Classifier(n_features, n_labels, self.dropout)


def pool(features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch twice"]:
    """The mean and the maximum of each feature over time: what classifiers read."""
    return torch.cat([features.mean(dim=-1), features.amax(dim=-1)], dim=-1)


class Classifier(nn.Module):
    """One logit a label, from pooled features."""

    reads_pooled = True

    def __init__(self, n_features: int, n_labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.read = nn.Linear(2 * n_features, n_labels)

    def forward(self, pooled: Float[Tensor, "batch twice"]) -> Float[Tensor, "batch label"]:
        return self.read(self.dropout(pooled))

    @torch.no_grad()
    def start_at(self, prevalence: Float[Tensor, " label"]) -> None:
        """Set the bias so that the untrained head predicts each label's share in the training split."""
        self.read.bias.copy_(torch.logit(prevalence, eps=RAREST))


class LatentHead(nn.Module):
    """Takes the features of what is seen of a record to those that the whole would have, frame by frame."""

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
    """Takes a record's features, averaged over time, to the space where two views of it should meet."""

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
