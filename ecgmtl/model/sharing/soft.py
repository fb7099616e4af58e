"""Soft sharing: two encoders, one for reconstruction and one for all classifiers, with a penalty on their distance."""

from collections.abc import Collection
from copy import deepcopy
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from ecgmtl.model.encoders import Encoder, EncoderSettings
from ecgmtl.model.sharing.base import Sharing, SharingOptions, Trunks, build_encoder


class SoftSettings(SharingOptions):
    """Settings of soft sharing."""

    has_shared_parameters: ClassVar[bool] = False
    description: ClassVar[str] = "two encoders held near each other"
    kind: Literal["soft"] = "soft"
    gamma: NonNegativeFloat = 1000.0
    """Weight of the penalty; 0 leaves two separate networks."""

    def n_encoders(self, trunks: Collection[str]) -> int:
        return len(trunks)

    def build(self, encoder: EncoderSettings, n_inputs: int, trunks: Trunks) -> "SoftSharing":
        return SoftSharing(build_encoder(encoder, n_inputs), self.gamma, trunks)


class SoftSharing(Sharing):
    r"""Two encoders A and B with the penalty :math:`\gamma \frac{1}{K} \sum_k \overline{(A_k - B_k)^2}`.

    The sum is over the K weight tensors. Each tensor counts by its mean squared difference, so that the large ones of
    deep layers do not dominate. Both encoders start from the same weights, so the penalty begins at 0. It does not
    apply to BatchNorm statistics.
    """

    def __init__(self, encoder: Encoder, gamma: float, trunks: Trunks) -> None:
        super().__init__()
        self.trunks = dict(trunks)
        self.reconstruction = encoder
        self.classification = deepcopy(encoder)
        self.gamma = gamma

    def forward(
        self, rows: Float[Tensor, "batch row time"], tasks: tuple[str, ...]
    ) -> dict[str, Float[Tensor, "batch _ _"]]:
        trunks = dict.fromkeys(self.trunks[task] for task in tasks)
        features = {trunk: self.for_task(trunk)(rows) for trunk in trunks}
        return {task: features[self.trunks[task]] for task in tasks}

    def n_features(self, task: str) -> int:
        return self.for_task(task).n_features

    def stride(self, task: str) -> int:
        return self.for_task(task).stride

    def for_task(self, task: str) -> Encoder:
        return self.reconstruction if self.trunks[task] == "reconstruction" else self.classification

    def layers(self) -> list[list[nn.Parameter]]:
        pairs = zip(self.reconstruction.layers(), self.classification.layers(), strict=True)
        return [[*one.parameters(), *other.parameters()] for one, other in pairs]

    def last_shared(self, tasks: tuple[str, ...]) -> list[nn.Parameter]:
        trunks = {self.trunks[task] for task in tasks}
        return [self.for_task(tasks[0]).last_weight()] if len(trunks) == 1 else []

    def penalty(self) -> Float[Tensor, ""] | None:
        if not self.gamma:
            return None
        pairs = zip(self.reconstruction.parameters(), self.classification.parameters(), strict=True)
        return self.gamma * torch.stack([(one - other).square().mean() for one, other in pairs]).mean()
