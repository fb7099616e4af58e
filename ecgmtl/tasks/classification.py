"""Classification: each label's probability, for the main label set or a further one."""

from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn

from ecgmtl.metrics.ranking import macro_auroc
from ecgmtl.model.heads import RAREST
from ecgmtl.model.network import MAIN
from ecgmtl.settings import Settings
from ecgmtl.tasks.base import Likelihood, LossInput, ModelFacts, Task, Trunk
from ecgmtl.tracking import names

PREFIX = f"{MAIN}_"
"""Prefix of the tasks that learn a further label set, whose name follows."""

N_SIMULATED = 10_000
"""Number of simulated records, whose label fractions are exact to a ten thousandth."""


class ClassificationSettings(Settings):
    """Settings of the classification loss. Validation always computes the plain cross-entropy."""

    kind: Literal["bce", "asymmetric"] = "bce"
    """Binary cross-entropy, or a loss in which easy elements count less, negative ones least (Ridnik et al., 2021)."""
    gamma_positive: NonNegativeFloat = 0.0
    """asymmetric: exponent of the error by which a positive element is weighted."""
    gamma_negative: NonNegativeFloat = 2.0
    """asymmetric: exponent of the error by which a negative element is weighted."""
    margin: float = Field(0.05, ge=0, lt=1)
    """asymmetric: probability below which a negative element has no loss."""
    smoothing: float = Field(0.0, ge=0, lt=1)
    """Label smoothing: targets become (1 − s)·y + s/2."""
    balance: float = Field(0.0, ge=0, le=1)
    """Exponent b by which rare labels count more: weight prevalence^(−b), 1 on average."""


class Classification(Task):
    """Binary cross-entropy over the labels of one label set."""

    trunk: ClassVar[Trunk] = "classification"
    likelihood: ClassVar[Likelihood] = "bernoulli"
    learns_labels: ClassVar[bool] = True

    def __init__(
        self,
        name: str = MAIN,
        settings: ClassificationSettings = ClassificationSettings(),  # noqa: B008  (it is frozen)
        prevalence: Float[Tensor, " label"] | None = None,
    ) -> None:
        super().__init__(name)
        self.settings, self.prevalence = settings, prevalence

    @property
    def label_set(self) -> str | None:
        """Name of the further label set; None for the main one."""
        return None if self.name == MAIN else self.name.removeprefix(PREFIX)

    @property
    def part(self) -> str:  # type: ignore[override]  # two parts share this class
        return "classifier" if self.label_set is None else "auxiliary_classifiers"

    @property
    def priority(self) -> int:  # type: ignore[override]
        return 3 if self.label_set is None else 0

    def build_head(self, n_features: int, stride: int, n_outputs: int, facts: ModelFacts) -> nn.Module:  # noqa: ARG002
        return facts.classifier.build(n_features, n_outputs)

    def check_model(self, stage: str, facts: ModelFacts) -> None:
        if self.label_set is not None and self.label_set not in facts.auxiliary_labels:
            raise ValueError(f"stage '{stage}' learns {self.name}; name {self.label_set} in auxiliary_labels")

    def loss(self, inputs: LossInput) -> Float[Tensor, ""]:
        logits, labels = inputs.outputs.get(self.name), self.labels(inputs)
        if logits is None or labels is None:
            what = "logits" if self.label_set is None else "that label set; name it in auxiliary_labels"
            raise ValueError(f"the loss {self.name} needs {what}")
        return classification(logits, labels, self.settings, self.prevalence)

    def labels(self, inputs: LossInput) -> Float[Tensor, "batch label"] | None:
        return inputs.batch.labels if self.label_set is None else inputs.batch.auxiliary_labels.get(self.label_set)

    def untrained(self, batch_size: int) -> float:  # noqa: ARG002
        """Return the loss at the prevalence of each label, where classifiers start; for bce its entropy."""
        if self.prevalence is None:
            raise ValueError(f"the untrained loss of {self.name} needs the prevalence of its labels")
        return untrained_loss(self.prevalence, self.settings)

    def validated_as(self) -> Task:
        return Classification(self.name)

    def answers(self, inputs: LossInput) -> tuple[Tensor, Tensor] | None:
        return (inputs.outputs[MAIN], inputs.batch.labels) if self.label_set is None else None

    def figures(self, means: dict[str, float], answers: tuple[np.ndarray, np.ndarray] | None) -> dict[str, float]:
        figures = super().figures(means, answers)
        return figures if answers is None else {**figures, names.MACRO_AUROC: macro_auroc(*answers)}


def untrained_loss(shares: Float[Tensor, " label"], settings: ClassificationSettings) -> float:
    """Compute the loss of a classifier that predicts each label's prevalence for every record."""
    labels = (torch.arange(N_SIMULATED, device=shares.device)[:, None] + 0.5) / N_SIMULATED < shares
    logits = torch.logit(shares, eps=RAREST).expand(N_SIMULATED, -1)
    return float(classification(logits, labels.float(), settings, shares))


def classification(
    logits: Float[Tensor, "batch label"],
    labels: Float[Tensor, "batch label"],
    settings: ClassificationSettings,
    prevalence: Float[Tensor, " label"] | None,
) -> Float[Tensor, ""]:
    """Compute the mean loss over records and labels. Mixup may make the labels soft.

    prevalence: fraction of the training records that have each label; only `balance` needs it.
    """
    truth = labels + settings.smoothing * (0.5 - labels)
    if settings.kind == "asymmetric":
        each = asymmetric(logits, truth, settings)
    else:
        each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    if not settings.balance:
        return each.mean()
    if prevalence is None:
        raise ValueError("classification.balance needs the prevalence of the labels")
    weights = prevalence.clamp(min=RAREST) ** -settings.balance
    return (each * (weights / weights.mean())).mean()


def asymmetric(
    logits: Float[Tensor, "batch label"], truth: Float[Tensor, "batch label"], settings: ClassificationSettings
) -> Float[Tensor, "batch label"]:
    r"""Compute :math:`-y (1 - p)^{\gamma_+} \log p - (1 - y) p_m^{\gamma_-} \log (1 - p_m)` of each element.

    With :math:`p_m = \max(p - m, 0)` (Ridnik et al., ICCV 2021, equations 4 to 7).
    """
    probability = torch.sigmoid(logits)
    # a power below 1 has no finite slope at 0, so neither error may become 0
    shifted = (probability - settings.margin).clamp(min=1e-8)
    positive = torch.exp(settings.gamma_positive * F.logsigmoid(-logits)) * F.logsigmoid(logits)
    negative = shifted**settings.gamma_negative * torch.log1p(-shifted.clamp(max=1 - 1e-6))
    return -(truth * positive + (1 - truth) * negative)
