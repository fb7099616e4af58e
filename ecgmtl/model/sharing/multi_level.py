"""One encoder whose heads read different depths of it, in the manner of GoogLeNet (Szegedy et al., CVPR 2015)."""

from typing import Literal

from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ecgmtl.model.encoders import Encoder, EncoderSettings
from ecgmtl.model.sharing.base import Sharing, SharingOptions, Trunks, build_encoder


class MultiLevelSettings(SharingOptions):
    """Settings of sharing at several levels."""

    kind: Literal["multi_level"] = "multi_level"
    levels: dict[str, PositiveInt] = Field(default_factory=dict)
    """Level of the encoder that a task reads, 1 the lowest; tasks that are not named read the top level."""

    @property
    def on_lower_levels(self) -> frozenset[str]:
        return frozenset(self.levels)

    def check(self, trunks: Trunks) -> None:
        for task in self.levels:
            if task not in trunks:
                raise ValueError(f"{task} reads no features of its own; choose from {', '.join(trunks)}")

    def build(self, encoder: EncoderSettings, n_inputs: int, trunks: Trunks) -> "MultiLevelSharing":
        """Build the encoder.

        Raises:
            ValueError: a level is above the encoder's top level.
        """
        return MultiLevelSharing(build_encoder(encoder, n_inputs), self.levels)


class MultiLevelSharing(Sharing):
    """One encoder that runs up to the highest level that a step's tasks read."""

    def __init__(self, encoder: Encoder, levels: dict[str, int]) -> None:
        super().__init__()
        n_levels = len(encoder.widths)
        for task, level in levels.items():
            if level > n_levels:
                raise ValueError(
                    f"{task} cannot read level {level}: the encoder has {n_levels}; choose 1 to {n_levels}"
                )
        self.trunk = encoder
        self.by_task = dict(levels)

    def forward(
        self, rows: Float[Tensor, "batch row time"], tasks: tuple[str, ...]
    ) -> dict[str, Float[Tensor, "batch _ _"]]:
        levels = self.trunk.levels(rows, max(self.level(task) for task in tasks))
        return {task: levels[self.level(task) - 1] for task in tasks}

    def level(self, task: str) -> int:
        """Return the level that a task reads."""
        return self.by_task.get(task, len(self.trunk.widths))

    def n_features(self, task: str) -> int:
        return self.trunk.widths[self.level(task) - 1]

    def stride(self, task: str) -> int:
        return self.trunk.strides[self.level(task) - 1]

    def for_task(self, task: str) -> nn.Module:
        return nn.Sequential(*self.trunk.layers()[: self.level(task)])

    def layers(self) -> list[list[nn.Parameter]]:
        return [list(layer.parameters()) for layer in self.trunk.layers()]

    def last_shared(self, tasks: tuple[str, ...]) -> list[nn.Parameter]:
        return [self.trunk.weights()[min(self.level(task) for task in tasks) - 1]]
