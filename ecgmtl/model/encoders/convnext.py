"""A modern convolutional network: large depthwise kernels, inverted bottlenecks (Liu et al., CVPR 2022, ConvNeXt)."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from ecgmtl.model.encoders.base import Encoder
from ecgmtl.model.encoders.blocks import Convolution, FirstConvolution, StochasticDepth, as_image, skipped_fractions
from ecgmtl.settings import Depth, KernelSize, Settings, Size


class ConvNextSettings(Settings):
    """Settings of the ConvNeXt encoder."""

    kind: Literal["convnext"] = "convnext"
    widths: tuple[Size, ...] = Field((64, 96, 128, 192), min_length=1)
    """Number of features of each stage; every stage but the first halves the time axis."""
    n_blocks: Depth = 1
    """Number of blocks in each stage."""
    stem_stride: Size = 2
    """Samples per frame of the first stage."""
    kernel_size: KernelSize = 9
    """Length of depthwise kernels in frames, an odd number; 9 at 100 Hz are 0.2 s at the bottom, 1.4 s at the top."""
    expansion: Size = 4
    """Ratio of a block's inner width to its outer width."""
    layer_scale: PositiveFloat = 1.0
    """Initial factor on a block's output; the small one that deep networks use holds back a network of few blocks."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """Fraction of records that skip the last block in training; lower blocks are skipped proportionally less."""

    def build(self, n_inputs: int) -> "ConvNextEncoder":
        return ConvNextEncoder(n_inputs, self)


class Stem(nn.Module):
    """Convolution from samples to frames, with a kernel of four frames."""

    def __init__(self, n_inputs: int, width: int, stride: int) -> None:
        super().__init__()
        kernel_size = 4 * stride - 1
        self.convolve = FirstConvolution(n_inputs, width, kernel_size, stride, kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, rows: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch feature frame"]:
        return self.norm(self.convolve(rows)).squeeze(2)


class ConvNextBlock(nn.Module):
    """Depthwise convolution along time, then a wider layer at each frame, with a shortcut.

    BatchNorm replaces the paper's LayerNorm: LayerNorm would remove the voltage from every frame, by which hypertrophy
    is diagnosed, and BatchNorm can be merged into a convolution after training.
    """

    def __init__(self, width: int, settings: ConvNextSettings, skipped: float) -> None:
        super().__init__()
        kernel_size = settings.kernel_size
        self.depthwise = nn.Conv2d(
            width, width, (1, kernel_size), padding=(0, kernel_size // 2), groups=width, bias=False
        )
        self.norm = nn.BatchNorm2d(width)
        self.widen = nn.Conv2d(width, settings.expansion * width, 1)
        self.narrow = nn.Conv2d(settings.expansion * width, width, 1, bias=False)
        self.scale = nn.Parameter(torch.full((width,), float(settings.layer_scale)))
        self.skip = StochasticDepth(skipped)

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch feature frame"]:
        image = as_image(features)
        inner = self.narrow(F.gelu(self.widen(self.norm(self.depthwise(image)))))
        return (image + self.skip(self.scale[:, None, None] * inner)).squeeze(2)


class Downsample(nn.Module):
    """Convolution that halves the time axis and changes the width."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(n_in)
        self.convolve = Convolution(n_in, n_out, kernel_size=3, stride=2, padding=1, bias=False)

    def forward(self, features: Float[Tensor, "batch n_in frame"]) -> Float[Tensor, "batch n_out out_frame"]:
        return self.convolve(self.norm(as_image(features))).squeeze(2)


class ConvNextEncoder(Encoder):
    """ConvNeXt along time."""

    def __init__(self, n_inputs: int, settings: ConvNextSettings) -> None:
        super().__init__()
        n_blocks, widths = settings.n_blocks, settings.widths
        stages = [stage for stage in range(len(widths)) for _ in range(n_blocks)]
        self.widths = (widths[0], *(widths[stage] for stage in stages))
        self.strides = (settings.stem_stride, *(settings.stem_stride * 2**stage for stage in stages))
        self.stem = Stem(n_inputs, widths[0], settings.stem_stride)
        self.blocks = nn.ModuleList()
        skipped = skipped_fractions(settings.drop_path, len(stages))
        for level, (n_in, n_out) in enumerate(zip(self.widths, self.widths[1:], strict=False), 1):
            starts_stage = level > 1 and (level - 1) % n_blocks == 0
            self.blocks.append(
                nn.Sequential(
                    Downsample(n_in, n_out) if starts_stage else nn.Identity(),
                    ConvNextBlock(n_out, settings, skipped[level - 1]),
                    nn.BatchNorm1d(n_out) if level == len(stages) else nn.Identity(),
                )
            )

    def layers(self) -> list[nn.Module]:
        return [self.stem, *self.blocks]

    def weights(self) -> list[nn.Parameter]:
        return [
            self.stem.get_parameter("convolve.weight"),
            *(block.get_parameter("1.narrow.weight") for block in self.blocks),
        ]
