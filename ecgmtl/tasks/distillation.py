"""Distillation: the probabilities of trained models, which carry more information than the labels."""

from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ecgmtl.model.network import MAIN
from ecgmtl.tasks.base import Likelihood, LossInput, ModelFacts, Need, StageFacts, Task, Trunk
from ecgmtl.tasks.classification import Classification, ClassificationSettings, untrained_loss

GO_TOGETHER = "the loss 'distillation' needs `teachers`, and `teachers` need the loss 'distillation'"
"""Message where a stage has one without the other."""


class Distillation(Task):
    """Binary cross-entropy to the teachers' mean probabilities (Hinton et al., 2015, with temperature 1)."""

    part: ClassVar[str] = "classifier"
    trunk: ClassVar[Trunk] = "classification"
    likelihood: ClassVar[Likelihood] = "bernoulli"
    needs: ClassVar[frozenset[Need]] = frozenset({"teachers"})
    priority: ClassVar[int] = 2

    def __init__(self, prevalence: Float[Tensor, " label"] | None = None) -> None:
        super().__init__("distillation")
        self.prevalence = prevalence

    @property
    def reads(self) -> str:
        return MAIN

    def build_head(self, n_features: int, stride: int, n_outputs: int, facts: ModelFacts) -> None:
        """Build nothing: the classifier's output is scored."""

    def check(self, stage: StageFacts) -> None:
        if not stage.has_teachers:
            raise ValueError(f"stage '{stage.name}': {GO_TOGETHER}")

    def loss(self, inputs: LossInput) -> Float[Tensor, ""]:
        logits, soft_labels = inputs.outputs.get(MAIN), inputs.batch.soft_labels
        if logits is None or soft_labels is None:
            raise ValueError("the distillation loss needs logits and the teachers' probabilities; set `teachers`")
        return F.binary_cross_entropy_with_logits(logits, soft_labels)

    def untrained(self, batch_size: int) -> float:  # noqa: ARG002
        """Return the entropy of the labels, which is the loss for teachers that predict the labels exactly."""
        if self.prevalence is None:
            raise ValueError("the untrained loss of distillation needs the prevalence of the labels")
        return untrained_loss(self.prevalence, ClassificationSettings())

    def validated_as(self) -> Task:
        return Classification()
