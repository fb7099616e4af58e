"""Telling which two views are of one record."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveFloat
from torch import Tensor

from ecgmtl.settings import Settings
from ecgmtl.tasks.base import Seen


class ContrastiveSettings(Settings):
    temperature: PositiveFloat = 0.2
    """What cosines are divided by; the lower, the more the most similar of the other records count."""


def contrastive(seen: Seen, settings: ContrastiveSettings) -> Float[Tensor, ""]:
    r"""Cross-entropy of finding a view's partner among all other views of the batch, by the cosine of their embeddings.

    Rows 2i and 2i + 1 are two views of one record: :math:`-\log \frac{\exp(s_{ij} / \tau)}{\sum_{k \ne i}
    \exp(s_{ik} / \tau)}`, the mean over all views (Chen et al., SimCLR, ICML 2020, equation 1; for views from different
    times of a record: Kiyasseh et al., CLOCS, ICML 2021).
    """
    embedding = seen.output.embedding
    if embedding is None or len(embedding) % 2:
        raise ValueError("the contrastive loss needs embeddings of two views a record")
    unit = F.normalize(embedding, dim=-1)
    n_views = len(unit)
    itself = torch.eye(n_views, dtype=torch.bool, device=unit.device)
    similarity = (unit @ unit.T / settings.temperature).masked_fill(itself, -torch.inf)
    partner = torch.arange(n_views, device=unit.device) ^ 1
    return F.cross_entropy(similarity, partner)
