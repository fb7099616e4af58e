"""A one-dimensional residual network."""

from typing import Literal

from pydantic import Field
from torch import nn

from ecgmtl.model.encoders.base import Encoder
from ecgmtl.model.encoders.blocks import Frames, ResidualStages, StemConvolution, skipped_fractions
from ecgmtl.settings import Depth, KernelSize, Settings, Size


class CnnSettings(Settings):
    """Settings of the convolutional encoder."""

    kind: Literal["cnn"] = "cnn"
    widths: tuple[Size, ...] = Field((32, 48, 64, 96), min_length=1)
    """Number of features of the stem and of each stage; each of them halves the time axis.

    The defaults are few, so that a first run is quick; recipes have more.
    """
    n_blocks: Depth = 1
    """Number of residual blocks in each stage."""
    kernel_size: KernelSize = 7
    """Length of a kernel in samples, an odd number."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Fraction of records that skip the last block in training; lower blocks are skipped proportionally less."""

    def build(self, n_inputs: int) -> "CnnEncoder":
        return CnnEncoder(n_inputs, self.widths, self.n_blocks, self.kernel_size, self.drop_path)


class CnnEncoder(Encoder):
    """One-dimensional residual network."""

    def __init__(
        self, n_inputs: int, widths: tuple[int, ...], n_blocks: int, kernel_size: int, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            StemConvolution(n_inputs, widths[0], kernel_size), nn.BatchNorm2d(widths[0]), nn.ReLU(), Frames()
        )
        skipped = skipped_fractions(drop_path, n_blocks * (len(widths) - 1))
        self.blocks = ResidualStages(widths, n_blocks, kernel_size, skipped)
        self.widths = (widths[0], *self.blocks.widths)
        self.strides = (2, *(2 * stride for stride in self.blocks.strides))

    def layers(self) -> list[nn.Module]:
        return [self.stem, *self.blocks]

    def weights(self) -> list[nn.Parameter]:
        return self.blocks.weights(below=next(self.stem.parameters()))
