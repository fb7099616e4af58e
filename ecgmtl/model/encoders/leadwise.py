"""A residual network that first reads each lead by itself, all of them with the same filters.

The shape of waves is learned from twelve leads at once. How leads relate is learned only after that.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ecgmtl.data.lead_algebra import N_BASIS, N_LEADS, extend_scores
from ecgmtl.model.encoders.base import Encoder
from ecgmtl.model.encoders.blocks import ResidualBlock, ResidualStages, StemConvolution, skipped_fractions
from ecgmtl.settings import Depth, KernelSize, Settings, Size


class LeadwiseSettings(Settings):
    """Settings of the leadwise encoder."""

    kind: Literal["leadwise"] = "leadwise"
    lead_widths: tuple[Size, ...] = Field((16, 32), min_length=1)
    """Number of features of a lead, in the stem and in each leadwise stage; each of them halves the time axis."""
    widths: tuple[Size, ...] = Field((64, 96, 128), min_length=1)
    """Number of features of all leads, where they are joined and in each further stage, which halves the time axis."""
    n_blocks: Depth = 1
    """Number of residual blocks in each stage."""
    kernel_size: KernelSize = 7
    """Length of a kernel in samples, an odd number."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Fraction of records that skip the last block in training; lower blocks are skipped proportionally less."""

    def build(self, n_inputs: int) -> "LeadwiseEncoder":
        return LeadwiseEncoder(n_inputs, self)


class LeadwiseEncoder(Encoder):
    """Residual network whose first level joins the leads.

    Raises:
        ValueError: the rows are not 12 leads with a mask for each of the 8 independent ones.
    """

    def __init__(self, n_inputs: int, settings: LeadwiseSettings) -> None:
        super().__init__()
        if n_inputs != N_LEADS + N_BASIS:
            raise ValueError(f"the leadwise encoder reads {N_LEADS + N_BASIS} rows; it was built for {n_inputs}")
        joined = 2 ** len(settings.lead_widths)
        n_below, n_above = (settings.n_blocks * (len(widths) - 1) for widths in (settings.lead_widths, settings.widths))
        skipped = skipped_fractions(settings.drop_path, n_below + n_above)
        self.leads = EachLead(settings, skipped[:n_below])
        self.blocks = ResidualStages(settings.widths, settings.n_blocks, settings.kernel_size, skipped[n_below:])
        self.widths = (settings.widths[0], *self.blocks.widths)
        self.strides = (joined, *(joined * stride for stride in self.blocks.strides))

    def layers(self) -> list[nn.Module]:
        return [self.leads, *self.blocks]

    def weights(self) -> list[nn.Parameter]:
        return self.blocks.weights(below=self.leads.get_parameter("join.weight"))


class EachLead(nn.Module):
    """Layer that reads every lead with the same weights, then joins the features of all leads at each frame."""

    def __init__(self, settings: LeadwiseSettings, skipped: Sequence[float]) -> None:
        super().__init__()
        widths, n_out = settings.lead_widths, settings.widths[0]
        self.stem = StemConvolution(2, widths[0], settings.kernel_size)  # a lead's signal and its mask
        self.norm = nn.BatchNorm2d(widths[0])
        self.blocks = ResidualStages(widths, settings.n_blocks, settings.kernel_size, skipped, LeadBlock)
        self.join = nn.Conv2d(widths[-1], n_out, (N_LEADS, 1), bias=False)
        self.join_norm = nn.BatchNorm2d(n_out)

    def forward(self, rows: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch feature frame"]:
        image = F.relu(self.norm(self.stem.of_image(by_lead(rows))))
        return F.relu(self.join_norm(self.join(self.blocks(image)))).squeeze(2)


class LeadBlock(ResidualBlock):
    """Residual block of images whose rows are leads."""

    def forward(self, image: Float[Tensor, "batch n_in lead frame"]) -> Float[Tensor, "batch n_out lead out_frame"]:
        return self.of_image(image)


def by_lead(rows: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch _ 12 time"]:
    """Return the leads as rows of an image, with their mask as its second channel if there is one."""
    signals, mask = rows[:, :N_LEADS], rows[:, N_LEADS:]
    channels = [signals, extend_scores(mask)] if mask.shape[1] else [signals]
    return torch.stack(channels, dim=1).contiguous(memory_format=torch.channels_last)
