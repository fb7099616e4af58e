"""What every way of sharing an encoder promises."""

from abc import ABC, abstractmethod
from collections import Counter

from jaxtyping import Float
from torch import Tensor, nn

JUDGES = {"consistency": "reconstruction", "distillation": "classification"}
"""Tasks without a head of their own, and whose output they judge."""

TRUNKS = ("reconstruction", "classification")
"""Where there are two encoders, what each is for."""


def trunk_of(task: str) -> str:
    """Which of two encoders a task reads: all classifiers read the same, all tasks without labels the other."""
    return "classification" if JUDGES.get(task, task).startswith("classification") else "reconstruction"


class Sharing(nn.Module, ABC):
    """One or more encoders, and which features each task reads of them. Its last layer is the one nearest the heads."""

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
