"""What every encoder promises."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """Turns rows over time into features over frames, `stride` samples a frame, for signals of any length.

    A signal of n samples gives ceil(n / stride) frames. It is built of layers, each reading the one below; what a layer
    gives is a level, 1 the lowest.
    """

    widths: tuple[int, ...]
    """Features of each level, bottom to top."""
    strides: tuple[int, ...]
    """Samples a frame of each level."""

    @abstractmethod
    def layers(self) -> list[nn.Module]:
        """One module a level, bottom to top."""

    @abstractmethod
    def weights(self) -> list[nn.Parameter]:
        """Of each level the weight, no norm's, that all of the level's features depend on and that lies nearest to it.

        Its gradient is not 0 at the start, as are those inside a residual block that starts as its shortcut.
        """

    def dynamics(self) -> list[nn.Parameter]:
        """What sets time scales, and so learns at a rate of its own; most encoders have none."""
        return []

    @property
    def n_features(self) -> int:
        return self.widths[-1]

    @property
    def stride(self) -> int:
        return self.strides[-1]

    def last_weight(self) -> nn.Parameter:
        """The weight of the last convolution or linear layer: where the norms of the tasks' gradients are compared."""
        return self.weights()[-1]

    def levels(
        self, rows: Float[Tensor, "batch row time"], n_levels: int | None = None
    ) -> tuple[Float[Tensor, "batch _ _"], ...]:
        """Features of the lowest levels, of all where no number is given; what lies above them is not computed."""
        found: list[Tensor] = []
        for layer in self.layers()[:n_levels]:
            found.append(layer(found[-1] if found else rows))
        return tuple(found)

    def forward(self, rows: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch feature frame"]:
        return self.levels(rows)[-1]
