"""The interface of tasks: head, loss, needs and validation figures."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from ecgmtl.data.batch import Batch
from ecgmtl.data.split import Split
from ecgmtl.model.heads import ClassifierSettings, DecoderSettings
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.tracking import names

Likelihood = Literal["gaussian", "bernoulli"]
Trunk = Literal["reconstruction", "classification"]
Need = Literal["masks", "views", "mean_encoder", "teachers", "clean_view"]
ValidationView = Literal["whole", "masked", "halves"]
Targets = tuple[Float[Tensor, "record target"], Float[Tensor, "held_out target"]]
"""Targets of the training and of the validation split; NaN where a record has none."""


class ModelFacts(NamedTuple):
    """Settings of a config on which a task's head depends."""

    decoder: DecoderSettings
    classifier: ClassifierSettings
    auxiliary_labels: tuple[str, ...]
    """Label sets that have a classifier of their own beside the main one."""
    on_lower_levels: frozenset[str] = frozenset()
    """Tasks that read another level of the encoder than its top."""


class StageFacts(NamedTuple):
    """Settings of a stage on which the conditions of tasks, weightings and gradient rules depend."""

    name: str
    tasks: tuple["Task", ...]
    main: "Task"
    """The task that selects the best epoch."""
    masks: bool
    """Whether any sample is masked."""
    scores_visible: bool
    """Whether visible samples count in the reconstruction loss."""
    mixup: bool
    has_teachers: bool
    shuffled: bool
    """Whether reconstruction is learned from another record's signal, as a control."""
    algorithm: str
    """The optimizer's algorithm."""
    clean_heads: tuple[str, ...]
    """Heads that read the clean view beside the masked one."""
    follows_shortest: bool
    """Whether the gradient rule's step follows the shortest of the tasks' gradients."""


class LossInput(NamedTuple):
    """Everything that a loss may depend on, apart from its settings."""

    model: MultiTaskModel
    outputs: Mapping[str, Any]
    """Outputs of the heads, by head."""
    batch: Batch
    progress: float
    """Fraction of the stage's steps that is done."""
    clean_outputs: Mapping[str, Any] | None = None
    """Outputs of the heads on the clean view of the same records, where there is one."""


class Task(ABC):
    """One task of one stage, with its settings and statistics of the training data."""

    part: ClassVar[str]
    """Name of the task's head in a stage's `trains`."""
    trunk: ClassVar[Trunk] = "reconstruction"
    """Name of the encoder that the task reads, where there are two."""
    likelihood: ClassVar[Likelihood] = "gaussian"
    """Likelihood whose negative logarithm the loss is, up to scale. Uncertainty weighting depends on it."""
    needs: ClassVar[frozenset[Need]] = frozenset()
    """Parts of a batch that the task needs in addition to signals and labels."""
    view: ClassVar[ValidationView] = "whole"
    """View of a record on which the task is validated."""
    learns_labels: ClassVar[bool] = False
    """Whether the task learns from labeled records only."""
    priority: ClassVar[int] = 0
    """Priority of the task: the one with the highest selects a stage's best epoch."""
    column: ClassVar[str | None] = None
    """Column of the prepared folder's table that holds the task's targets."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def reads(self) -> str:
        """Name of the head whose output the task scores."""
        return self.name

    @property
    def labeled_as(self) -> str:
        """Name of the classification task whose labels the task learns, if it learns labels."""
        return self.name

    @property
    def lacks_targets(self) -> str:
        """End of the error about a training split without targets: where they were looked for, and how to fix it."""
        return (
            f"in the column '{self.column}' of the prepared folder; prepare it again from a table with that column, or "
            f"leave {self.name} out"
        )

    @property
    def can_be_negative(self) -> bool:
        """Whether the loss can fall below zero."""
        return False

    @property
    def has_theory(self) -> bool:
        """Whether `untrained` is a theoretical value rather than a guess."""
        return True

    @abstractmethod
    def build_head(self, n_features: int, stride: int, n_outputs: int, facts: ModelFacts) -> nn.Module | None:
        """Build the head; None where the task scores another one's output.

        stride: samples per frame of the features; n_outputs: labels of the task, 0 where it has none.
        """

    def check(self, stage: StageFacts) -> None:  # noqa: B027  (most tasks have no conditions)
        """Raise ValueError where the stage does not fit the task."""

    def check_model(self, stage: str, facts: ModelFacts) -> None:  # noqa: B027  (likewise)
        """Raise ValueError where the model does not fit the task."""

    @abstractmethod
    def loss(self, inputs: LossInput) -> Float[Tensor, ""]:
        """Compute the loss, a mean over its elements.

        Raises:
            ValueError: the model has no output for this task, or the batch has no target.
        """

    def untrained(self, batch_size: int) -> float:  # noqa: ARG002  (not every task depends on it)
        """Return the expected loss of an untrained network."""
        return 1.0

    def encode(
        self,
        train: Split,  # noqa: ARG002  (likewise)
        validation: Split,  # noqa: ARG002
    ) -> Targets | None:
        """Return the targets of both splits, encoded with statistics of the training split alone.

        None for tasks whose targets lie in the batch already.
        """
        return None

    def validated_as(self) -> "Task":
        """Return the task whose plain loss and figures validation computes."""
        return self

    def count(self, inputs: LossInput) -> float:
        """Return the number of elements over which the loss is a mean: scored samples, or records."""
        scored = inputs.batch.scored
        if self.view == "masked" and scored is not None:
            return float(inputs.model.scored(scored).sum())
        return len(inputs.batch.labels)

    def measure(self, inputs: LossInput) -> dict[str, float]:  # noqa: ARG002  (likewise)
        """Compute further figures of a validation batch, each summed over the same elements as the loss."""
        return {}

    def answers(self, inputs: LossInput) -> tuple[Tensor, Tensor] | None:  # noqa: ARG002  (likewise)
        """Return predictions and truth of a validation batch where a figure needs those of all records."""
        return None

    def figures(
        self,
        means: dict[str, float],
        answers: tuple[np.ndarray, np.ndarray] | None,  # noqa: ARG002  (likewise)
    ) -> dict[str, float]:
        """Name the validation figures; `means` are of the loss and of what `measure` gave."""
        return {names.loss(self.name) if name == "loss" else name: value for name, value in means.items()}
