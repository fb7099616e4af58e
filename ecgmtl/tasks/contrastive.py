"""Contrastive learning: which two views are of one record."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveFloat
from torch import Tensor, nn

from ecgmtl.model.heads import Projector
from ecgmtl.settings import Settings
from ecgmtl.tasks.base import Likelihood, LossInput, ModelFacts, Need, StageFacts, Task, ValidationView


class ContrastiveSettings(Settings):
    """Settings of the contrastive loss."""

    temperature: PositiveFloat = 0.2
    """Divisor of the cosines. The lower it is, the more the most similar of the other records count."""


class Contrastive(Task):
    r"""Cross-entropy of finding a view's partner among all other views of the batch, by the cosine of their embeddings.

    Rows 2i and 2i + 1 are two views of one record: :math:`-\log \frac{\exp(s_{ij} / \tau)}{\sum_{k \ne i}
    \exp(s_{ik} / \tau)}`, the mean over all views (Chen et al., SimCLR, ICML 2020, equation 1; for views from different
    times of a record: Kiyasseh et al., CLOCS, ICML 2021).
    """

    part: ClassVar[str] = "projector"
    likelihood: ClassVar[Likelihood] = "bernoulli"
    needs: ClassVar[frozenset[Need]] = frozenset({"views"})
    view: ClassVar[ValidationView] = "halves"

    def __init__(self, settings: ContrastiveSettings = ContrastiveSettings()) -> None:  # noqa: B008
        super().__init__("contrastive")
        self.settings = settings

    def build_head(self, n_features: int, stride: int, n_outputs: int, facts: ModelFacts) -> nn.Module:  # noqa: ARG002
        return Projector(n_features)

    def check(self, stage: StageFacts) -> None:
        if stage.shuffled:
            raise ValueError(
                f"stage '{stage.name}': with reconstruction.target shuffled, one view of a record may become the "
                f"target of its other view; leave contrastive out, or set another target"
            )
        if stage.mixup:
            raise ValueError(
                f"stage '{stage.name}' learns contrastive, and mixup blends its views with other records; set "
                f"augment.mixup to 0, or leave contrastive out"
            )

    def loss(self, inputs: LossInput) -> Float[Tensor, ""]:
        embedding = inputs.outputs.get(self.name)
        if embedding is None or len(embedding) % 2:
            raise ValueError("the contrastive loss needs embeddings of two views of each record")
        unit = F.normalize(embedding, dim=-1)
        n_views = len(unit)
        itself = torch.eye(n_views, dtype=torch.bool, device=unit.device)
        similarity = (unit @ unit.T / self.settings.temperature).masked_fill(itself, -torch.inf)
        partner = torch.arange(n_views, device=unit.device) ^ 1
        return F.cross_entropy(similarity, partner)

    def untrained(self, batch_size: int) -> float:
        """Return the logarithm of the number of views to choose from."""
        return math.log(2 * batch_size - 1)

    def validated_as(self) -> "Contrastive":
        return Contrastive()
