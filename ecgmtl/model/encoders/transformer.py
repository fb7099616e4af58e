"""Self-attention over patches of signal (Dosovitskiy et al., ICLR 2021, along time)."""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from ecgmtl.model.encoders.base import Encoder
from ecgmtl.model.encoders.blocks import FirstConvolution, Position, Transformer
from ecgmtl.settings import Depth, KernelSize, Settings, Size


class AttentionSettings(Settings):
    """Settings of every encoder with self-attention."""

    width: Size = 128
    """Number of features of a frame."""
    depth: Depth = 4
    """Number of attention blocks."""
    n_heads: Size = 4
    dropout: float = Field(0.1, ge=0, lt=1)
    drop_path: float = Field(0.1, ge=0, lt=1)
    """Fraction of records that skip the last block in training; lower blocks are skipped proportionally less."""
    position_kernel: KernelSize = 31
    """Length of the position encoding's kernel in frames, an odd number; 31 of 80 ms are 2.5 s, as in wav2vec 2.0."""

    @model_validator(mode="after")
    def heads_share_the_width(self) -> "AttentionSettings":
        if self.width % self.n_heads:
            raise ValueError(
                f"width {self.width} is not divisible by n_heads {self.n_heads}; set width to a multiple of it"
            )
        return self


class TransformerSettings(AttentionSettings):
    """Settings of the transformer encoder."""

    kind: Literal["transformer"] = "transformer"
    patch: Size = 10
    """Length of a patch in samples."""

    def build(self, n_inputs: int) -> "TransformerEncoder":
        return TransformerEncoder(n_inputs, self)


class Patches(nn.Module):
    """Embedding of one frame for each patch. The last patch is padded with zeros, so that no sample is dropped."""

    def __init__(self, n_inputs: int, width: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.convolve = FirstConvolution(n_inputs, width, kernel_size=patch, stride=patch)

    def forward(self, rows: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch feature frame"]:
        return self.convolve(F.pad(rows, (0, -rows.shape[-1] % self.patch))).squeeze(2)


class TransformerEncoder(Encoder):
    """Self-attention over patches."""

    def __init__(self, n_inputs: int, settings: TransformerSettings) -> None:
        super().__init__()
        n_levels = settings.depth + 1
        self.widths, self.strides = (settings.width,) * n_levels, (settings.patch,) * n_levels
        self.embed = nn.Sequential(
            Patches(n_inputs, settings.width, settings.patch), Position(settings.width, settings.position_kernel)
        )
        self.blocks = Transformer(
            settings.width, settings.depth, settings.n_heads, settings.dropout, settings.drop_path
        )

    def layers(self) -> list[nn.Module]:
        return [self.embed, *self.blocks]

    def weights(self) -> list[nn.Parameter]:
        return [next(self.embed.parameters()), *self.blocks.weights()]
