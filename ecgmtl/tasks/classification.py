"""How far the probabilities of labels are from the truth, which blending of records may make soft."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from ecgmtl.model.heads import RAREST
from ecgmtl.settings import Settings


class ClassificationSettings(Settings):
    """How labels are learnt; validation always gives the plain cross-entropy."""

    kind: Literal["bce", "asymmetric"] = "bce"
    """Binary cross-entropy; or one in which easy elements count less, negatives ones least (Ridnik et al., 2021)."""
    gamma_positive: NonNegativeFloat = 0.0
    """asymmetric: the power to which a positive element's error weighs it."""
    gamma_negative: NonNegativeFloat = 2.0
    """asymmetric: likewise a negative element's."""
    margin: float = Field(0.05, ge=0, lt=1)
    """asymmetric: a negative element with a lower probability than this counts nothing."""
    smoothing: float = Field(0.0, ge=0, lt=1)
    """Labels are moved by this share of the way towards one half."""
    balance: float = Field(0.0, ge=0, le=1)
    """Rare labels count more: a label weighs its prevalence to the power of minus this, 1 on average."""


def classification(
    logits: Float[Tensor, "batch label"],
    labels: Float[Tensor, "batch label"],
    settings: ClassificationSettings,
    prevalence: Float[Tensor, " label"] | None,
) -> Float[Tensor, ""]:
    """The mean over records and labels.

    prevalence: share of the training records that have each label; only `balance` needs it.
    """
    truth = labels + settings.smoothing * (0.5 - labels)
    if settings.kind == "asymmetric":
        each = asymmetric(logits, truth, settings)
    else:
        each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    if not settings.balance:
        return each.mean()
    if prevalence is None:
        raise ValueError("balance needs to know how many training records have each label")
    weights = prevalence.clamp(min=RAREST) ** -settings.balance
    return (each * (weights / weights.mean())).mean()


def asymmetric(
    logits: Float[Tensor, "batch label"], truth: Float[Tensor, "batch label"], settings: ClassificationSettings
) -> Float[Tensor, "batch label"]:
    r"""Of each element :math:`-y (1 - p)^{\gamma_+} \log p - (1 - y) p_m^{\gamma_-} \log (1 - p_m)`.

    With :math:`p_m = \max(p - m, 0)` (Ridnik et al., ICCV 2021, equations 4 to 7).
    """
    found = torch.sigmoid(logits)
    # a power below 1 has no slope at 0: neither error may come to lie there
    shifted = (found - settings.margin).clamp(min=1e-8)
    positive = torch.exp(settings.gamma_positive * F.logsigmoid(-logits)) * F.logsigmoid(logits)
    negative = shifted**settings.gamma_negative * torch.log1p(-shifted.clamp(max=1 - 1e-6))
    return -(truth * positive + (1 - truth) * negative)
