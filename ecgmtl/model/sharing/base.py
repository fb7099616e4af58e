"""What every way of sharing an encoder promises."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from ecgmtl.model.encoders import EncoderSettings
from ecgmtl.settings import Settings

TRUNKS = ("reconstruction", "classification")
"""Where there are two encoders, what each is for."""

Trunks = Mapping[str, str]
"""By head, which of two encoders it reads."""


class SharingOptions(Settings, ABC):
    """Options of one way of sharing."""

    kind: str
    has_shared_parameters: ClassVar[bool] = True
    """Whether any parameter is used by two tasks."""
    description: ClassVar[str] = "one shared encoder"
    """How a model card names it."""

    def n_encoders(self, trunks: Collection[str]) -> int:
        """Return how many encoders run for tasks that read these trunks."""
        return 1

    def check(self, trunks: Trunks) -> None:
        """Raise ValueError, with a sentence about it, where the model's heads do not fit the way of sharing."""

    @abstractmethod
    def build(self, encoder: EncoderSettings, n_inputs: int, trunks: Trunks) -> "Sharing":
        """Build the encoders for heads that read these trunks."""


class Sharing(nn.Module, ABC):
    """One or more encoders, and which features each head reads of them. Tasks are named as their heads are."""

    @abstractmethod
    def forward(
        self, rows: Float[Tensor, "batch row time"], tasks: tuple[str, ...]
    ) -> dict[str, Float[Tensor, "batch _ _"]]:
        """Features by task; what only other tasks read is not computed."""

    @abstractmethod
    def n_features(self, task: str) -> int: ...

    @abstractmethod
    def stride(self, task: str) -> int:
        """Samples a frame of the features that the task reads."""

    @abstractmethod
    def for_task(self, task: str) -> nn.Module:
        """What takes rows to this task's features, with the same weights and nothing that the task does not need."""

    @abstractmethod
    def layers(self) -> list[list[nn.Parameter]]:
        """All parameters by depth, the lowest first, each of them once."""

    @abstractmethod
    def last_shared(self, tasks: tuple[str, ...]) -> list[nn.Parameter]:
        """The weights nearest the heads that all of these tasks depend on; empty where there are none."""

    def shared(self, tasks: tuple[str, ...]) -> list[nn.Parameter]:
        """The parameters that at least two of these tasks depend on."""
        uses = Counter(parameter for task in tasks for parameter in self.for_task(task).parameters())
        return [parameter for parameter in self.parameters() if uses[parameter] > 1]

    def penalty(self) -> Float[Tensor, ""] | None:
        """What is added to the losses for encoders that differ; None where nothing is."""
        return None
