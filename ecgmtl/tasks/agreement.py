"""Agreement: the same diagnoses for a record whether parts of it are masked or not."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ecgmtl.model.network import MAIN
from ecgmtl.tasks.base import Likelihood, LossInput, ModelFacts, Need, StageFacts, Task, Trunk, ValidationView


class Agreement(Task):
    r"""Kullback-Leibler divergence of the masked view's probabilities from the clean view's, the mean over labels.

    :math:`\mathrm{sg}[p] \log (\mathrm{sg}[p] / q) + (1 - \mathrm{sg}[p]) \log ((1 - \mathrm{sg}[p]) / (1 - q))`
    with p of the clean view, which gets no gradient (Xie et al., UDA, NeurIPS 2020, equation 1). No label is needed.
    """

    part: ClassVar[str] = "classifier"
    trunk: ClassVar[Trunk] = "classification"
    likelihood: ClassVar[Likelihood] = "bernoulli"
    needs: ClassVar[frozenset[Need]] = frozenset({"masks", "clean_view"})
    view: ClassVar[ValidationView] = "masked"

    def __init__(self) -> None:
        super().__init__("agreement")

    @property
    def reads(self) -> str:
        return MAIN

    @property
    def has_theory(self) -> bool:
        return False

    def build_head(self, n_features: int, stride: int, n_outputs: int, facts: ModelFacts) -> None:
        """Build nothing: the classifier's output is scored."""

    def check(self, stage: StageFacts) -> None:
        if MAIN not in stage.clean_heads:
            raise ValueError(
                f"stage '{stage.name}' learns agreement with the clean view, which no classification reads; set "
                f"views to {{{MAIN}: both}} or {{{MAIN}: clean}}"
            )

    def loss(self, inputs: LossInput) -> Float[Tensor, ""]:
        logits, clean = inputs.outputs.get(MAIN), (inputs.clean_outputs or {}).get(MAIN)
        if logits is None or clean is None:
            raise ValueError("agreement needs logits of the masked and of the clean view")
        certain = clean.detach()
        entropy = F.binary_cross_entropy_with_logits(certain, torch.sigmoid(certain))
        return F.binary_cross_entropy_with_logits(logits, torch.sigmoid(certain)) - entropy

    def count(self, inputs: LossInput) -> float:
        """Return the number of records, over which the loss is a mean."""
        return len(inputs.batch.labels)
