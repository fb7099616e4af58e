"""What stands on the shared features: a decoder that redraws the waveform, classifiers that read labels."""

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ecgmtl.encoders.blocks import ResidualBlock
from ecgmtl.leads import N_BASIS
from ecgmtl.settings import KernelSize, Settings


class DecoderSettings(Settings):
    width: PositiveInt = 128
    n_blocks: PositiveInt = 2
    """Residual blocks at the rate of the frames."""
    kernel_size: KernelSize = 5

    def build(self, n_features: int, stride: int) -> "Decoder":
        return Decoder(n_features, stride, self)


class Decoder(nn.Module):
    """Draws the 8 independent leads, in standardised units: each frame unfolds into its `stride` samples."""

    def __init__(self, n_features: int, stride: int, settings: DecoderSettings) -> None:
        super().__init__()
        width, kernel = settings.width, settings.kernel_size
        self.blocks = nn.Sequential(
            nn.Conv1d(n_features, width, 1),
            *(ResidualBlock(width, width, kernel, stride=1) for _ in range(settings.n_blocks)),
        )
        # each sample is drawn from its frame and the two beside it, so that no seam shows where frames meet
        self.unfold = nn.Conv1d(width, N_BASIS * stride, kernel_size=3, padding=1)

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch basis time"]:
        drawn = self.unfold(self.blocks(features))
        batch, _, n_frames = drawn.shape
        return drawn.view(batch, N_BASIS, -1, n_frames).transpose(2, 3).reshape(batch, N_BASIS, -1)


class ClassifierSettings(Settings):
    dropout: float = Field(0.3, ge=0, lt=1)

    def build(self, n_features: int, n_labels: int) -> "Classifier":
        return Classifier(n_features, n_labels, self.dropout)


class Classifier(nn.Module):
    """One logit a label, from the mean and the maximum of each feature over time."""

    def __init__(self, n_features: int, n_labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.read = nn.Linear(2 * n_features, n_labels)

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch label"]:
        pooled = torch.cat([features.mean(dim=-1), features.amax(dim=-1)], dim=-1)
        return self.read(self.dropout(pooled))

    @torch.no_grad()
    def start_at(self, prevalence: Float[Tensor, " label"]) -> None:
        """Set the bias so that the untrained head predicts each label's share in the training split."""
        self.read.bias.copy_(torch.logit(prevalence, eps=1e-3))
