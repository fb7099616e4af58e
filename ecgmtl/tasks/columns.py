"""The common part of tasks whose targets lie in a column of the record table."""

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ecgmtl.data.split import Split
from ecgmtl.ranks import average_over_ranks, is_parallel
from ecgmtl.tasks.base import LossInput, ModelFacts, Targets, Task, Trunk


class ColumnTask(Task):
    """Task whose targets lie in a column. Records without a value are left out of its loss."""

    trunk: ClassVar[Trunk] = "classification"
    n_outputs: ClassVar[int] = 1

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
        """Tell which records, or which of their targets, have a value."""
        return torch.isfinite(target).all(dim=1)

    def output_and_target(self, given: LossInput) -> tuple[Tensor, Tensor]:
        """Return the head's output and the targets, of the records that have one."""
        output, target = given.outputs.get(self.name), given.batch.targets.get(self.name)
        if output is None or target is None:
            raise ValueError(f"the loss {self.name} needs an output and targets from the column '{self.column}'")
        present = self.present(target)
        return output[present], target[present]

    def loss(self, given: LossInput) -> Float[Tensor, ""]:
        output, target = self.output_and_target(given)
        if not len(output):
            return given.outputs[self.name].sum() * 0.0  # keeps the graph, so that the head's gradient is 0
        errors = self.error(output, target)
        if not is_parallel():
            return errors.mean()
        # parallel processes have different numbers of values: divide by the mean, so that all values count alike
        return errors.sum() / average_over_ranks(errors.new_tensor(float(errors.numel())))

    def error(self, output: Float[Tensor, "present output"], target: Float[Tensor, "present output"]) -> Tensor:
        """Compute the error of each record."""
        raise NotImplementedError

    def count(self, given: LossInput) -> float:
        return float(self.present(given.batch.targets[self.name]).sum())


class ElementTask(ColumnTask):
    """Task with several targets a record, of which each may be missing. Its loss is a mean over those that are not."""

    def present(self, target: Float[Tensor, "batch output"]) -> Bool[Tensor, "batch output"]:
        return torch.isfinite(target)
