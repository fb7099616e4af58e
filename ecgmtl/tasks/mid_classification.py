"""Deep supervision: a second classifier of the main labels, which reads a lower level of the encoder."""

from typing import ClassVar

import numpy as np
from torch import Tensor

from ecgmtl.metrics.ranking import macro_auroc
from ecgmtl.model.network import MAIN
from ecgmtl.tasks.base import LossInput, ModelFacts, Task
from ecgmtl.tasks.classification import Classification


class MidClassification(Classification):
    """The loss of the main labels at mid depth (Szegedy et al., CVPR 2015; Lee et al., AISTATS 2015).

    The sharing `multi_level` says which level the classifier reads. Prediction does not run it.
    """

    part: ClassVar[str] = "mid_classifier"
    priority: ClassVar[int] = 0
    label_set: ClassVar[None] = None

    @property
    def labeled_as(self) -> str:
        return MAIN

    def check_model(self, stage: str, facts: ModelFacts) -> None:
        if self.name not in facts.on_lower_levels:
            raise ValueError(
                f"stage '{stage}' learns {self.name}, which reads a lower level of the encoder; set sharing to "
                f"{{kind: multi_level, levels: {{{self.name}: 2}}}}, or another level"
            )

    def validated_as(self) -> Task:
        return MidClassification(self.name)

    def answers(self, inputs: LossInput) -> tuple[Tensor, Tensor] | None:
        return inputs.outputs[self.name], inputs.batch.labels

    def figures(self, means: dict[str, float], answers: tuple[np.ndarray, np.ndarray] | None) -> dict[str, float]:
        figures = Task.figures(self, means, answers)
        return figures if answers is None else {**figures, "mid_macro_auroc": macro_auroc(*answers)}
