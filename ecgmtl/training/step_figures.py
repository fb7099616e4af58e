"""Figures of an epoch's steps, copied from the device at once when the epoch is over."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ecgmtl.ranks import average_over_ranks
from ecgmtl.tracking import names
from ecgmtl.training.step import Step


class StepFigures(NamedTuple):
    """Figures of steps in their order, each the mean over ranks."""

    losses: Float32[np.ndarray, "step task"]
    """Plain losses; NaN where a task is left out of a step."""
    weights: Float32[np.ndarray, "step task"]
    extras: dict[str, Float32[np.ndarray, "step task"]]
    """Figures of the weighting itself by name, such as `log_var`."""
    alone: Mapping[str, Float32[np.ndarray, " step"]]
    """Losses in the branch of a fork that learns the main task alone, by name."""
    gradient_norms: Float32[np.ndarray, " step"]

    @classmethod
    def of(cls, steps: Sequence[Step], alone: Mapping[str, np.ndarray]) -> "StepFigures":
        """Copy the figures of steps from the device. `alone` has those of a fork's branch with the main task alone."""
        losses, weights = on_host([step.losses for step in steps]), on_host([step.weights for step in steps])
        extras = {name: on_host([step.extras[name] for step in steps]) for name in steps[0].extras}
        return cls(losses, weights, extras, alone, on_host([step.gradient_norm for step in steps]))

    def columns(self, tasks: Sequence[str]) -> dict[str, Float32[np.ndarray, " step"]]:
        """Return a column for each figure, and each task where tasks have one, by name."""
        tables = {names.LOSS: self.losses, names.WEIGHT: self.weights}
        tables |= {f"{name}.": table for name, table in self.extras.items()}
        by_task = {f"{name}{task}": table[:, i] for name, table in tables.items() for i, task in enumerate(tasks)}
        return {**by_task, **self.alone, names.GRADIENT_NORM: self.gradient_norms}


def on_host(values: list[Tensor]) -> np.ndarray:
    """Return one array of a figure over the steps, the mean over ranks, copied from the device at once."""
    table: np.ndarray = average_over_ranks(torch.stack(values)).cpu().numpy()
    return table
