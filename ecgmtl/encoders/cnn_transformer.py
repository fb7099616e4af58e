"""A convolutional stem for the shapes of waves, self-attention above it for rhythm."""

from typing import Literal

from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ecgmtl.encoders.base import Encoder
from ecgmtl.encoders.blocks import Transformer
from ecgmtl.encoders.cnn import CnnEncoder
from ecgmtl.encoders.transformer import AttentionSettings
from ecgmtl.settings import KernelSize


class CnnTransformerSettings(AttentionSettings):
    kind: Literal["cnn_transformer"] = "cnn_transformer"
    depth: PositiveInt = 2
    """Blocks of attention."""
    stem: tuple[PositiveInt, ...] = Field((64, 96, 128), min_length=1)
    """Features of each convolutional stage; every one of them halves the time axis."""
    kernel_size: KernelSize = 7
    """Samples a convolution of the stem sees, an odd number."""

    def build(self, n_inputs: int) -> "CnnTransformerEncoder":
        return CnnTransformerEncoder(n_inputs, self)


class CnnTransformerEncoder(Encoder):
    def __init__(self, n_inputs: int, settings: CnnTransformerSettings) -> None:
        super().__init__()
        self.stem = CnnEncoder(n_inputs, settings.stem, n_blocks=1, kernel_size=settings.kernel_size)
        self.n_features, self.stride = settings.width, self.stem.stride
        self.widen = nn.Conv1d(self.stem.n_features, settings.width, 1)
        self.layers = Transformer(settings.width, settings.depth, settings.n_heads, settings.dropout)

    def forward(self, signals: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch feature frame"]:
        return self.layers(self.widen(self.stem(signals)))
