"""The common part of tasks whose targets lie in a column of the record table."""

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ecgmtl.data.split import Split
from ecgmtl.ranks import average_over_ranks
from ecgmtl.tasks.base import Likelihood, LossInput, ModelFacts, Targets, Task, Trunk


class ColumnTask(Task):
    """Task whose targets lie in a column. Records without a value are left out of its loss."""

    trunk: ClassVar[Trunk] = "classification"
    n_outputs: ClassVar[int] = 1

    def __init__(self) -> None:
        """Create the task under the name of its part."""
        super().__init__(self.part)

    def build_head(self, n_features: int, stride: int, n_outputs: int, facts: ModelFacts) -> nn.Module:  # noqa: ARG002
        return facts.classifier.build(n_features, self.n_outputs)

    def encode(self, train: Split, validation: Split) -> Targets:
        first, second = (torch.from_numpy(self.targets(self.values(split))) for split in (train, validation))
        return first, second

    def values(self, split: Split) -> np.ndarray:
        """Return the values of the column, or NaN for every record where the prepared folder lacks the column."""
        return split.columns.get(str(self.column), np.full(len(split), np.nan))

    def targets(self, column: np.ndarray) -> Float[np.ndarray, "record target"]:
        """Encode the values of `column`; NaN where a record has none."""
        raise NotImplementedError

    def present(self, target: Float[Tensor, "batch output"]) -> Bool[Tensor, "*batch_or_target"]:
        """Return which records, or which of their targets, have a value."""
        return torch.isfinite(target).all(dim=1)

    def output_and_target(self, inputs: LossInput) -> tuple[Tensor, Tensor]:
        """Return the head's output and the targets, of the records that have one."""
        output, target = inputs.outputs.get(self.name), inputs.batch.targets.get(self.name)
        if output is None or target is None:
            raise ValueError(f"the loss {self.name} needs an output and targets from the column '{self.column}'")
        present = self.present(target)
        return output[present], target[present]

    def loss(self, inputs: LossInput) -> Float[Tensor, ""]:
        output, target = self.output_and_target(inputs)
        errors = self.error(output, target)
        # parallel processes have different numbers of values: divide by the mean, so that all values count alike
        n_values = average_over_ranks(errors.new_tensor(float(errors.numel())))
        return errors.sum() / torch.where(n_values > 0, n_values, 1.0)  # without a value the head's gradient is 0

    def error(self, output: Float[Tensor, "present output"], target: Float[Tensor, "present output"]) -> Tensor:
        """Compute the error of each record."""
        raise NotImplementedError

    def count(self, inputs: LossInput) -> float:
        return float(self.present(inputs.batch.targets[self.name]).sum())


class ClassTask(ColumnTask):
    """Task with one class for each record. Its targets are the shares of the classes, which sum to 1."""

    likelihood: ClassVar[Likelihood] = "bernoulli"

    def error(self, output: Float[Tensor, "present n_classes"], target: Float[Tensor, "present n_classes"]) -> Tensor:
        return F.cross_entropy(output, target, reduction="none")

    def untrained(self, batch_size: int) -> float:  # noqa: ARG002
        """Return the logarithm of the number of classes: the head starts without a preference."""
        return float(np.log(self.n_outputs))

    def measure(self, inputs: LossInput) -> dict[str, float]:
        output, target = self.output_and_target(inputs)
        return {f"{self.name}_accuracy": float((output.argmax(dim=1) == target.argmax(dim=1)).sum())}


class ElementTask(ColumnTask):
    """Task with several targets for each record, each of which may be missing. Its loss is a mean over the others."""

    def present(self, target: Float[Tensor, "batch output"]) -> Bool[Tensor, "batch output"]:
        return torch.isfinite(target)
