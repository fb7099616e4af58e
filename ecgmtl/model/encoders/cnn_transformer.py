"""A convolutional stem for the shapes of waves, with self-attention above it for rhythm."""

from typing import Literal

from pydantic import Field
from torch import nn

from ecgmtl.model.encoders.base import Encoder
from ecgmtl.model.encoders.blocks import Position, Transformer
from ecgmtl.model.encoders.cnn import CnnEncoder
from ecgmtl.model.encoders.transformer import AttentionSettings
from ecgmtl.settings import Depth, KernelSize, Size


class CnnTransformerSettings(AttentionSettings):
    """Settings of the encoder with a convolutional stem below self-attention."""

    kind: Literal["cnn_transformer"] = "cnn_transformer"
    depth: Depth = 2
    """Number of attention blocks."""
    stem: tuple[Size, ...] = Field((64, 96, 128), min_length=1)
    """Number of features of each convolutional stage; each of them halves the time axis."""
    kernel_size: KernelSize = 7
    """Length of the stem's kernels in samples, an odd number."""

    def build(self, n_inputs: int) -> "CnnTransformerEncoder":
        return CnnTransformerEncoder(n_inputs, self)


class CnnTransformerEncoder(Encoder):
    """Convolutional stem with self-attention above it."""

    def __init__(self, n_inputs: int, settings: CnnTransformerSettings) -> None:
        super().__init__()
        width = settings.width
        self.stem = CnnEncoder(n_inputs, settings.stem, n_blocks=1, kernel_size=settings.kernel_size)
        n_above = settings.depth + 1
        self.widths = self.stem.widths + (width,) * n_above
        self.strides = self.stem.strides + (self.stem.stride,) * n_above
        self.widen = nn.Sequential(nn.Conv1d(self.stem.n_features, width, 1), Position(width, settings.position_kernel))
        self.blocks = Transformer(width, settings.depth, settings.n_heads, settings.dropout, settings.drop_path)

    def layers(self) -> list[nn.Module]:
        return [*self.stem.layers(), self.widen, *self.blocks]

    def weights(self) -> list[nn.Parameter]:
        return [*self.stem.weights(), next(self.widen.parameters()), *self.blocks.weights()]
