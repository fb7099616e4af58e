"""What every encoder promises."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """Turns rows over time into features over frames, `stride` samples a frame, for signals of any length.

    A signal of n samples gives ceil(n / stride) frames.
    """

    n_features: int
    stride: int

    @abstractmethod
    def forward(self, signals: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch feature frame"]: ...
