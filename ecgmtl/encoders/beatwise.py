"""A residual network that reads each lead by itself first, in time and in the record's mean beat alike.

In time any wave may come at any moment, and few records have to teach what comes before what. In the mean beat each
wave has its place, and what befell one beat alone is averaged out.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ecgmtl.encoders.base import Encoder
from ecgmtl.encoders.blocks import FrameConvolution, ResidualStages
from ecgmtl.encoders.leadwise import EachLead, LeadSettings
from ecgmtl.encoders.mean_beat import mean_beat


class BeatwiseSettings(LeadSettings):
    kind: Literal["beatwise"] = "beatwise"
    beat: tuple[PositiveInt, PositiveInt] = (36, 56)
    """Samples of a beat, before its steepest moment and after it; the default is meant for 100 Hz."""
    beat_width: PositiveInt = 96
    """Features of the mean beat."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Of what the mean beat shows at each of its places."""

    @property
    def beat_frames(self) -> int:
        """Of the mean beat, where leads are joined."""
        return -(-sum(self.beat) // self.joined)

    def build(self, n_inputs: int) -> "BeatwiseEncoder":
        return BeatwiseEncoder(n_inputs, self)


class BeatwiseEncoder(Encoder):
    """On each level the features of the mean beat, the same in every frame, follow those of the record."""

    def __init__(self, n_inputs: int, settings: BeatwiseSettings) -> None:
        super().__init__()
        beside, joined = settings.beat_width, settings.joined
        self.both = RecordAndBeat(n_inputs, settings)
        stages = ResidualStages(settings.widths, settings.n_blocks, settings.kernel_size)
        self.blocks = nn.ModuleList(InTime(block, beside) for block in stages)
        self.widths = tuple(width + beside for width in (settings.widths[0], *stages.widths))
        self.strides = (joined, *(joined * stride for stride in stages.strides))

    def layers(self) -> list[nn.Module]:
        return [self.both, *self.blocks]

    def weights(self) -> list[nn.Parameter]:
        """Of every level that which joins the leads: above it record and beat go their own ways."""
        return [self.both.get_parameter("leads.join.weight")] * len(self.widths)


class RecordAndBeat(nn.Module):
    """The leads of a record, joined, and what its mean beat says, found with the same filters."""

    def __init__(self, n_inputs: int, settings: BeatwiseSettings) -> None:
        super().__init__()
        self.beat, self.stride, self.gap = settings.beat, settings.joined, settings.reach
        self.leads = EachLead(n_inputs, settings)
        self.read = BeatReader(settings.widths[0], settings.beat_width, settings.beat_frames, settings.dropout)

    def forward(self, rows: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch feature frame"]:
        n_frames = -(-rows.shape[-1] // self.stride)
        begin = n_frames + self.gap
        apart = F.pad(rows, (0, begin * self.stride - rows.shape[-1]))
        # one after the other, so that a norm's statistics are those of both
        joined = self.leads(torch.cat([apart, mean_beat(rows, *self.beat).to(rows.dtype)], dim=-1))
        said = self.read(joined[..., begin:])
        return torch.cat([joined[..., :n_frames], said[..., None].expand(-1, -1, n_frames)], dim=1)


class BeatReader(nn.Module):
    """Reads every place of a beat with weights of its own."""

    def __init__(self, n_in: int, width: int, n_frames: int, dropout: float) -> None:
        super().__init__()
        self.shapes = FrameConvolution(n_in, width, 5, padding=2, bias=False)
        self.shapes_norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.places = nn.Linear(n_frames * width, width, bias=False)
        self.places_norm = nn.BatchNorm1d(width)

    def forward(self, beat: Float[Tensor, "batch n_in frame"]) -> Float[Tensor, "batch width"]:
        shapes = F.relu(self.shapes_norm(self.shapes(beat)))
        return F.relu(self.places_norm(self.places(self.dropout(shapes.flatten(1)))))


class InTime(nn.Module):
    """A block for what is found in time; what the mean beat said goes on as it is."""

    def __init__(self, block: nn.Module, beside: int) -> None:
        super().__init__()
        self.block, self.beside = block, beside

    def forward(self, features: Float[Tensor, "batch n_in frame"]) -> Float[Tensor, "batch n_out out_frame"]:
        found, said = features[:, : -self.beside], features[:, -self.beside :]
        found = self.block(found)
        return torch.cat([found, said[..., : found.shape[-1]].to(found.dtype)], dim=1)
