"""A one-dimensional residual network."""

from itertools import pairwise
from typing import Literal

from pydantic import Field, PositiveInt
from torch import nn

from ecgmtl.encoders.base import Encoder
from ecgmtl.encoders.blocks import FirstConvolution, Frames, ResidualBlock, Shortcut
from ecgmtl.settings import KernelSize, Settings


class CnnSettings(Settings):
    kind: Literal["cnn"] = "cnn"
    widths: tuple[PositiveInt, ...] = Field((32, 48, 64, 96), min_length=1)
    """Features of the stem and of each stage; every one of them halves the time axis.

    Few, so that a first run is quick; recipes name more.
    """
    n_blocks: PositiveInt = 1
    """Residual blocks a stage."""
    kernel_size: KernelSize = 7
    """Samples a convolution sees, an odd number."""

    def build(self, n_inputs: int) -> "CnnEncoder":
        return CnnEncoder(n_inputs, self.widths, self.n_blocks, self.kernel_size)


class CnnEncoder(Encoder):
    def __init__(self, n_inputs: int, widths: tuple[int, ...], n_blocks: int, kernel_size: int) -> None:
        super().__init__()
        self.widths = (widths[0], *(width for width in widths[1:] for _ in range(n_blocks)))
        self.strides = (2, *(2**stage for stage in range(2, len(widths) + 1) for _ in range(n_blocks)))
        stem_kernel = 2 * kernel_size + 1  # the stem looks at raw samples, where a QRS is ten of them
        self.stem = nn.Sequential(
            FirstConvolution(n_inputs, widths[0], stem_kernel, stride=2, padding=stem_kernel // 2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
            Frames(),
        )
        blocks: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            blocks.append(ResidualBlock(n_in, n_out, kernel_size, stride=2))
            blocks += [ResidualBlock(n_out, n_out, kernel_size, stride=1) for _ in range(n_blocks - 1)]
        self.blocks = nn.Sequential(*blocks)

    def layers(self) -> list[nn.Module]:
        return [self.stem, *self.blocks]

    def weights(self) -> list[nn.Parameter]:
        found = [next(self.stem.parameters())]
        for block in self.blocks:
            shortcut = block.shortcut
            found.append(shortcut.get_parameter("widen.weight") if isinstance(shortcut, Shortcut) else found[-1])
        return found
