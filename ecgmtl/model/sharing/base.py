"""The interface of the ways of sharing an encoder."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from ecgmtl.model.encoders import Encoder, EncoderSettings
from ecgmtl.model.encoders.base import require_both_shapes
from ecgmtl.settings import Settings

TRUNKS = ("reconstruction", "classification")
"""Names of the two encoders, where there are two."""

Trunks = Mapping[str, str]
"""Name of the encoder that each head reads, by head."""


def build_encoder(settings: EncoderSettings, n_inputs: int) -> Encoder:
    """Build an encoder.

    Raises:
        ValueError: it breaks the contract of `Encoder` about the rows that it reads.
    """
    encoder = settings.build(n_inputs)
    require_both_shapes(encoder, n_inputs)
    return encoder


class SharingOptions(Settings, ABC):
    """Settings of one way of sharing."""

    kind: str
    has_shared_parameters: ClassVar[bool] = True
    """Whether any parameter is used by two tasks."""
    description: ClassVar[str] = "one shared encoder"
    """Name in a model card."""

    @property
    def on_lower_levels(self) -> frozenset[str]:
        """Tasks that read another level of the encoder than its top."""
        return frozenset()

    def n_encoders(self, trunks: Collection[str]) -> int:
        """Return the number of encoders that run for tasks that read these trunks."""
        return 1

    def check(self, trunks: Trunks) -> None:
        """Raise ValueError where the model's heads do not fit the way of sharing."""

    @abstractmethod
    def build(self, encoder: EncoderSettings, n_inputs: int, trunks: Trunks) -> "Sharing":
        """Build the encoders for heads that read these trunks."""


class Sharing(nn.Module, ABC):
    """One or more encoders that give each head its features. Tasks are named as their heads are."""

    @abstractmethod
    def forward(
        self, rows: Float[Tensor, "batch row time"], tasks: tuple[str, ...]
    ) -> dict[str, Float[Tensor, "batch _ _"]]:
        """Compute the features of each task. Layers that only other tasks read do not run."""

    @abstractmethod
    def n_features(self, task: str) -> int:
        """Return the number of features that the task reads."""

    @abstractmethod
    def stride(self, task: str) -> int:
        """Return the samples per frame of the features that the task reads."""

    @abstractmethod
    def for_task(self, task: str) -> nn.Module:
        """Return a module from rows to the features of this task, with the same weights and only its layers."""

    @abstractmethod
    def layers(self) -> list[list[nn.Parameter]]:
        """Return all parameters by depth, the lowest first, each of them once."""

    @abstractmethod
    def last_shared(self, tasks: tuple[str, ...]) -> list[nn.Parameter]:
        """Return the weights nearest the heads on which all of these tasks depend; none where nothing is shared."""

    def shared(self, tasks: tuple[str, ...]) -> list[nn.Parameter]:
        """Return the parameters on which at least two of these tasks depend."""
        uses = Counter(parameter for task in tasks for parameter in self.for_task(task).parameters())
        return [parameter for parameter in self.parameters() if uses[parameter] > 1]

    def penalty(self) -> Float[Tensor, ""] | None:
        """Compute the penalty on encoders that differ, which is added to the losses; None where there is none."""
        return None
