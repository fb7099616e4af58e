"""One encoder, whose last features all tasks read (Caruana, Machine Learning 1997)."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from ecgmtl.model.encoders import Encoder, EncoderSettings
from ecgmtl.model.sharing.base import Sharing, SharingOptions, Trunks, build_encoder


class HardSettings(SharingOptions):
    """Settings of hard sharing, which has none."""

    kind: Literal["hard"] = "hard"

    def build(self, encoder: EncoderSettings, n_inputs: int, trunks: Trunks) -> "HardSharing":
        return HardSharing(build_encoder(encoder, n_inputs))


class HardSharing(Sharing):
    """One encoder for all tasks."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.trunk = encoder

    def forward(
        self, rows: Float[Tensor, "batch row time"], tasks: tuple[str, ...]
    ) -> dict[str, Float[Tensor, "batch _ _"]]:
        return dict.fromkeys(tasks, self.trunk(rows))

    def n_features(self, task: str) -> int:
        return self.trunk.n_features

    def stride(self, task: str) -> int:
        return self.trunk.stride

    def for_task(self, task: str) -> nn.Module:
        return self.trunk

    def layers(self) -> list[list[nn.Parameter]]:
        return [list(layer.parameters()) for layer in self.trunk.layers()]

    def last_shared(self, tasks: tuple[str, ...]) -> list[nn.Parameter]:
        return [self.trunk.last_weight()]
