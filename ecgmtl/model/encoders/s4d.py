"""A convolutional stem with diagonal state spaces over its frames (Gu et al., NeurIPS 2022, S4D)."""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn

from ecgmtl.model.encoders.base import Encoder
from ecgmtl.model.encoders.cnn import CnnEncoder
from ecgmtl.model.encoders.state_space import Start, StateSpace
from ecgmtl.settings import Depth, KernelSize, Settings, Size


class S4dSettings(Settings):
    """Settings of the state-space encoder, sized for a CPU.

    Mehari and Strodthoff (2022) use 512 features, state 8 and every sample for PTB-XL.
    """

    kind: Literal["s4d"] = "s4d"
    stem: tuple[Size, ...] = Field((64, 128), min_length=1)
    """Number of features of each convolutional stage, which halves the time axis. Blocks have as many as the last."""
    kernel_size: KernelSize = 7
    """Length of the stem's kernels in samples, an odd number."""
    depth: Depth = 4
    """Number of state-space blocks."""
    state: int = Field(16, ge=2, le=10_000, multiple_of=2)
    """Size of a feature's state; its numbers come in conjugate pairs."""
    init: Start = "lin"
    """Initial frequencies of the state: evenly spaced (S4D-Lin), or denser toward 0 (S4D-Inv)."""
    steps: tuple[PositiveFloat, PositiveFloat] = (0.001, 0.1)
    """Smallest and largest initial step per sample; a feature remembers about 1 / step samples."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout rate of whole features."""

    @model_validator(mode="after")
    def steps_rise(self) -> "S4dSettings":
        if self.steps[0] > self.steps[1]:
            raise ValueError(f"steps {self.steps[0]:g} to {self.steps[1]:g}: the second should not be below the first")
        return self

    def build(self, n_inputs: int) -> "S4dEncoder":
        return S4dEncoder(n_inputs, self)


class S4dBlock(nn.Module):
    """State space for each feature, then a gated mixture of the features, with a shortcut."""

    def __init__(self, width: int, stride: int, settings: S4dSettings, *, is_last: bool) -> None:
        super().__init__()
        # the range is set in samples, so that a model with longer frames remembers as many seconds
        steps = (settings.steps[0] * stride, settings.steps[1] * stride)
        self.dropout = settings.dropout
        self.norm = nn.BatchNorm1d(width)
        self.space = StateSpace(width, settings.state // 2, settings.init, steps)
        self.mix = nn.Conv1d(width, 2 * width, 1)
        self.last_norm = nn.BatchNorm1d(width) if is_last else nn.Identity()

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch feature frame"]:
        inner = self.drop(F.gelu(self.space(self.norm(features))))
        return self.last_norm(features + self.drop(F.glu(self.mix(inner), dim=1)))

    def drop(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch feature frame"]:
        return F.dropout1d(features, self.dropout, self.training)


class S4dEncoder(Encoder):
    """Convolutional stem with state-space blocks above it."""

    def __init__(self, n_inputs: int, settings: S4dSettings) -> None:
        super().__init__()
        self.stem = CnnEncoder(n_inputs, settings.stem, n_blocks=1, kernel_size=settings.kernel_size)
        width, stride, depth = self.stem.n_features, self.stem.stride, settings.depth
        self.widths = self.stem.widths + (width,) * depth
        self.strides = self.stem.strides + (stride,) * depth
        self.blocks = nn.ModuleList(
            S4dBlock(width, stride, settings, is_last=level == depth) for level in range(1, depth + 1)
        )

    def layers(self) -> list[nn.Module]:
        return [*self.stem.layers(), *self.blocks]

    def weights(self) -> list[nn.Parameter]:
        return [*self.stem.weights(), *(block.get_parameter("mix.weight") for block in self.blocks)]

    def dynamics(self) -> list[nn.Parameter]:
        spaces = [module for module in self.modules() if isinstance(module, StateSpace)]
        return [parameter for space in spaces for parameter in space.dynamics()]
