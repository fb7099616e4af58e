"""Two encoders that mix their features after every level (Misra et al., CVPR 2016)."""

from collections.abc import Collection
from copy import deepcopy
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ecgmtl.model.encoders import Encoder, EncoderSettings
from ecgmtl.model.sharing.base import TRUNKS, Sharing, SharingOptions, Trunks, build_encoder


class CrossStitchSettings(SharingOptions):
    """Settings of cross-stitch units."""

    description: ClassVar[str] = "two encoders stitched together"
    kind: Literal["cross_stitch"] = "cross_stitch"
    own: float = Field(0.9, ge=0, le=1)
    """Fraction of its own features that an encoder reads at the start; the rest are the other encoder's."""

    def n_encoders(self, trunks: Collection[str]) -> int:  # both run, for they are mixed
        return len(TRUNKS)

    def build(self, encoder: EncoderSettings, n_inputs: int, trunks: Trunks) -> "CrossStitchSharing":
        return CrossStitchSharing(build_encoder(encoder, n_inputs), self.own, trunks)


class Stitch(nn.Module):
    r"""Input of one encoder, :math:`\tilde x_A = \alpha_{AA} x_A + \alpha_{AB} x_B`, learned for each feature.

    The factors are vectors, so that the optimizer does not decay them as it does matrices.
    """

    def __init__(self, n_features: int, own: float, trunk: str) -> None:
        super().__init__()
        self.is_first = trunk == TRUNKS[0]
        self.own = nn.Parameter(torch.full((n_features,), float(own)))
        self.other = nn.Parameter(torch.full((n_features,), 1.0 - own))

    def forward(
        self, one: Float[Tensor, "batch feature frame"], two: Float[Tensor, "batch feature frame"]
    ) -> Float[Tensor, "batch feature frame"]:
        own, other = (one, two) if self.is_first else (two, one)
        return self.own[:, None] * own + self.other[:, None] * other


def unit(n_features: int, own: float) -> nn.ModuleDict:
    """Build a cross-stitch unit, which mixes the input of each of the two encoders."""
    return nn.ModuleDict({trunk: Stitch(n_features, own, trunk) for trunk in TRUNKS})


class Columns(nn.Module):
    """Two encoders whose features are mixed after every layer but the last, which each task mixes for itself."""

    def __init__(self, encoder: Encoder, own: float) -> None:
        super().__init__()
        self.reconstruction = encoder
        self.classification = deepcopy(encoder)  # mixed features should mean the same, so both start from one network
        self.units = nn.ModuleList(unit(width, own) for width in encoder.widths[:-1])

    def forward(
        self, rows: Float[Tensor, "batch row time"]
    ) -> tuple[Float[Tensor, "batch feature frame"], Float[Tensor, "batch feature frame"]]:
        units = [None, *self.units]
        layers = zip(self.reconstruction.layers(), self.classification.layers(), units, strict=True)
        one = two = rows
        for layer, twin, below in layers:
            if isinstance(below, nn.ModuleDict):
                one, two = below["reconstruction"](one, two), below["classification"](one, two)
            one, two = layer(one), twin(two)
        return one, two


class OneTask(nn.Module):
    """Both encoders, which depend on each other at every layer, with the last mixture of one task."""

    def __init__(self, columns: Columns, stitch: nn.Module) -> None:
        super().__init__()
        self.columns = columns
        self.stitch = stitch

    def forward(self, rows: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch feature frame"]:
        return self.stitch(*self.columns(rows))


class CrossStitchSharing(Sharing):
    """Two encoders that mix their features after every layer. Both always run, whatever the tasks are."""

    def __init__(self, encoder: Encoder, own: float, trunks: Trunks) -> None:
        super().__init__()
        self.trunks = dict(trunks)
        self.columns = Columns(encoder, own)
        self.last_unit = unit(encoder.n_features, own)

    def forward(
        self, rows: Float[Tensor, "batch row time"], tasks: tuple[str, ...]
    ) -> dict[str, Float[Tensor, "batch _ _"]]:
        pair = self.columns(rows)
        features = {trunk: self.last_unit[trunk](*pair) for trunk in dict.fromkeys(self.trunks[task] for task in tasks)}
        return {task: features[self.trunks[task]] for task in tasks}

    def n_features(self, task: str) -> int:
        return self.columns.reconstruction.n_features

    def stride(self, task: str) -> int:
        return self.columns.reconstruction.stride

    def for_task(self, task: str) -> nn.Module:
        return OneTask(self.columns, self.last_unit[self.trunks[task]])

    def layers(self) -> list[list[nn.Parameter]]:
        units = [*self.columns.units, self.last_unit]
        parts = zip(self.columns.reconstruction.layers(), self.columns.classification.layers(), units, strict=True)
        return [[parameter for part in level for parameter in part.parameters()] for level in parts]

    def last_shared(self, tasks: tuple[str, ...]) -> list[nn.Parameter]:
        return [self.columns.reconstruction.last_weight(), self.columns.classification.last_weight()]
