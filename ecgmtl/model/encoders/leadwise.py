"""A residual network that reads each lead by itself first, all of them with the same filters.

What a wave looks like is learnt from twelve leads at once, and what leads have to do with one another only after that.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ecgmtl.data.lead_algebra import N_BASIS, N_LEADS, extend_scores
from ecgmtl.model.encoders.base import Encoder
from ecgmtl.model.encoders.blocks import ResidualBlock, ResidualStages, StemConvolution
from ecgmtl.settings import Depth, KernelSize, Settings, Size


class LeadwiseSettings(Settings):
    kind: Literal["leadwise"] = "leadwise"
    lead_widths: tuple[Size, ...] = Field((16, 32), min_length=1)
    """Features of each lead: of the stem and of each stage that reads it by itself; every one halves the time axis."""
    widths: tuple[Size, ...] = Field((64, 96, 128), min_length=1)
    """Features of all leads: where they are joined, then of each stage, every one of which halves the time axis."""
    n_blocks: Depth = 1
    """Residual blocks a stage."""
    kernel_size: KernelSize = 7
    """Samples a convolution sees, an odd number."""

    def build(self, n_inputs: int) -> "LeadwiseEncoder":
        return LeadwiseEncoder(n_inputs, self)


class LeadwiseEncoder(Encoder):
    """Its first level is all leads, joined.

    Raises:
        ValueError: the rows are not 12 leads and where each of the 8 independent ones is hidden.
    """

    def __init__(self, n_inputs: int, settings: LeadwiseSettings) -> None:
        super().__init__()
        if n_inputs != N_LEADS + N_BASIS:
            raise ValueError(f"leads are read from {N_LEADS + N_BASIS} rows, not from {n_inputs}")
        joined = 2 ** len(settings.lead_widths)
        self.leads = EachLead(settings)
        self.blocks = ResidualStages(settings.widths, settings.n_blocks, settings.kernel_size)
        self.widths = (settings.widths[0], *self.blocks.widths)
        self.strides = (joined, *(joined * stride for stride in self.blocks.strides))

    def layers(self) -> list[nn.Module]:
        return [self.leads, *self.blocks]

    def weights(self) -> list[nn.Parameter]:
        return self.blocks.weights(below=self.leads.get_parameter("join.weight"))


class EachLead(nn.Module):
    """Reads every lead with the same weights, then joins what was found in all of them at a moment."""

    def __init__(self, settings: LeadwiseSettings) -> None:
        super().__init__()
        widths, n_out = settings.lead_widths, settings.widths[0]
        self.stem = StemConvolution(2, widths[0], settings.kernel_size)  # a lead's signal, and where it is hidden
        self.norm = nn.BatchNorm2d(widths[0])
        self.blocks = ResidualStages(widths, settings.n_blocks, settings.kernel_size, LeadBlock)
        self.join = nn.Conv2d(widths[-1], n_out, (N_LEADS, 1), bias=False)
        self.join_norm = nn.BatchNorm2d(n_out)

    def forward(self, rows: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch feature frame"]:
        image = F.relu(self.norm(self.stem.of_image(by_lead(rows))))
        return F.relu(self.join_norm(self.join(self.blocks(image)))).squeeze(2)


class LeadBlock(ResidualBlock):
    """Of images whose rows are leads."""

    def forward(self, image: Float[Tensor, "batch n_in lead frame"]) -> Float[Tensor, "batch n_out lead out_frame"]:
        return self.of_image(image)


def by_lead(rows: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch _ 12 time"]:
    """The leads as rows of an image, and where they are hidden as its second color, if anything is."""
    signals, mask = rows[:, :N_LEADS], rows[:, N_LEADS:]
    colors = [signals, extend_scores(mask)] if mask.shape[1] else [signals]
    return torch.stack(colors, dim=1).contiguous(memory_format=torch.channels_last)
