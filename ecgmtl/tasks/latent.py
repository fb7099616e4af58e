"""Latent prediction: the features of a whole record, from its visible part."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ecgmtl.model.heads import LatentHead
from ecgmtl.ranks import average_over_ranks
from ecgmtl.settings import Settings
from ecgmtl.tasks.base import LossInput, ModelFacts, Need, StageFacts, Task, ValidationView

ERRORS = {"mse": F.mse_loss, "smooth_l1": F.smooth_l1_loss}


class LatentSettings(Settings):
    """Settings of latent prediction."""

    kind: Literal["mse", "smooth_l1"] = "mse"
    """Squared error, or smooth L1, which is linear for errors above 1 (data2vec)."""


class Latent(Task):
    """Mean error to the teacher's features, each frame normalized over its features; masked frames count.

    The teacher has the EMA weights of the encoder and reads the record unmasked (Baevski et al., data2vec, ICML 2022;
    Grill et al., BYOL, NeurIPS 2020, for the head that prevents collapse to a constant). A frame is weighted by the
    fraction of its samples that is scored. Where nothing is masked in the batch, the loss is 0.
    """

    part: ClassVar[str] = "predictor"
    needs: ClassVar[frozenset[Need]] = frozenset({"masks", "mean_encoder"})
    view: ClassVar[ValidationView] = "masked"

    def __init__(self, settings: LatentSettings = LatentSettings()) -> None:  # noqa: B008
        super().__init__("latent")
        self.settings = settings

    def build_head(self, n_features: int, stride: int, n_outputs: int, facts: ModelFacts) -> nn.Module:  # noqa: ARG002
        return LatentHead(n_features)

    def check(self, stage: StageFacts) -> None:
        if not stage.masks:
            raise ValueError(
                f"stage '{stage.name}' learns latent, but masks nothing; set masking.time or masking.leads"
            )

    def loss(self, inputs: LossInput) -> Float[Tensor, ""]:
        predicted, target, scored = inputs.outputs.get(self.name), inputs.batch.teacher_features, inputs.batch.scored
        if predicted is None or target is None or scored is None:
            raise ValueError("the latent loss needs a prediction, a teacher's features, and which samples are scored")
        normalized = F.layer_norm(target.transpose(1, 2), target.shape[1:2])
        error = ERRORS[self.settings.kind](predicted.transpose(1, 2), normalized, reduction="none").mean(dim=-1)
        weights = F.adaptive_avg_pool1d(scored.mean(dim=1, keepdim=True), error.shape[1])[:, 0]
        return (error * weights).sum() / average_over_ranks(weights.sum()).clamp(min=1)

    def validated_as(self) -> "Latent":
        return Latent()
