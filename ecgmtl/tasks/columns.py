"""The common part of tasks whose targets lie in a column of the record table."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ecgmtl.tasks.base import LossInput, ModelFacts, Task, Trunk


class ColumnTask(Task):
    """Task whose targets lie in a column. Records without a value are left out of its loss."""

    trunk: ClassVar[Trunk] = "classification"
    n_outputs: ClassVar[int] = 1

    def build_head(self, n_features: int, stride: int, n_outputs: int, facts: ModelFacts) -> nn.Module:  # noqa: ARG002
        return facts.classifier.build(n_features, self.n_outputs)

    def output_and_target(self, given: LossInput) -> tuple[Tensor, Tensor]:
        """Return the head's output and the targets of the records that have one."""
        output, target = given.outputs.get(self.name), given.batch.targets.get(self.name)
        if output is None or target is None:
            raise ValueError(f"the loss {self.name} needs an output and targets from the column '{self.column}'")
        present = has_value(target)
        return output[present], target[present]

    def loss(self, given: LossInput) -> Float[Tensor, ""]:
        output, target = self.output_and_target(given)
        if not len(output):
            return given.outputs[self.name].sum() * 0.0  # keeps the graph, so that the head's gradient is 0
        return self.error(output, target).mean()

    def error(self, output: Float[Tensor, "present output"], target: Float[Tensor, "present output"]) -> Tensor:
        """Compute the error of each record."""
        raise NotImplementedError

    def count(self, given: LossInput) -> float:
        return float(has_value(given.batch.targets[self.name]).sum())


def has_value(target: Float[Tensor, "batch output"]) -> Bool[Tensor, " batch"]:
    """Tell which records have a target."""
    return torch.isfinite(target).all(dim=1)
