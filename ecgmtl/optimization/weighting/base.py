"""The interface of loss weightings."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ecgmtl.settings import Settings
from ecgmtl.tasks import StageFacts


class Moment(NamedTuple):
    """Position of a step in its stage."""

    step: int
    """Index of the step, from 0."""
    epoch: int
    """Index of the epoch, from 0."""
    progress: float
    """Fraction of the stage's steps that is done."""


class Weighted(NamedTuple):
    """Result of a weighting for one step."""

    weights: Float[Tensor, " task"]
    r"""Constant weights: the network follows :math:`\sum_i w_i \nabla L_i`."""
    objective: Float[Tensor, ""] | None = None
    """Loss of the weighting's own parameters; None where it learns nothing by gradient."""


class MethodSettings(Settings, ABC):
    """Settings of one weighting."""

    kind: str
    needs_positive: ClassVar[bool] = False
    """Whether a loss below zero breaks the method."""
    looks_at_encoder: ClassVar[bool] = False
    """Whether the method compares gradients in parameters that the tasks share."""

    def check(self, stage: StageFacts) -> None:
        """Raise ValueError where the stage does not fit the method."""
        negative = [task.name for task in stage.tasks if task.can_be_negative]
        if self.needs_positive and negative:
            raise ValueError(
                f"stage '{stage.name}': {self.kind} weighting needs losses that are never negative, and that of "
                f"{', '.join(negative)} can be; use fixed or decay weights"
            )

    @abstractmethod
    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Weighting":
        """Build the weighting of these tasks.

        seed: seed of the method's random samples, together with the step.

        Raises:
            ValueError: the settings do not fit the tasks.
        """


class Weighting(nn.Module, ABC):
    """Weighting of the tasks of a stage, in the order of its `losses`.

    The training loop calls the methods in this order:

    1. once, when the stage is built: `expect`;
    2. once, before the first step: `begin`, with the losses of the first batch;
    3. at every step: `active`; `observe`, every `norms_every` steps; `forward`; after the optimizer's step
       `look_again`, if `looks_again`; `per_task`; and `reward`, every `reward_every` steps;
    4. after every epoch: `end_epoch`.

    A stage that is resumed restores the state instead of calling `begin`. The state consists of parameters, buffers of
    fixed shape, and the extra state. Random samples depend on the seed and the step only. A new object with the state
    of a used one therefore continues with the same weights.
    """

    lr: float = 1e-2
    """Learning rate of its own parameters, each of which Adam changes by about this much per step.

    The network's learning rate is too low for them."""
    weight_decay: float = 0.0
    norms_every: int = 0
    """Steps from one call of `observe` to the next; 0 for none."""
    looks_again: bool = False
    """Whether `look_again` is called after each step."""
    reward_every: int = 0
    """Steps from one call of `reward` to the next; 0 for none."""
    reward_patients: float = 0.0
    """Fraction of the training patients that is held out for `reward`."""

    def expect(self, untrained: Mapping[str, float]) -> None:
        """Take the expected loss of an untrained network, by task."""

    def begin(self, losses: Float[Tensor, " task"]) -> None:
        """Take the losses of a stage's first batch."""

    def active(self, moment: Moment) -> tuple[bool, ...] | None:
        """Return which tasks are learned at this step; None for all. The other losses are not computed, but are 0."""
        return None

    @abstractmethod
    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        """Compute the weights of this step. The losses are constants, averaged over ranks."""

    def observe(self, norms: Float[Tensor, " task"]) -> None:
        """Take the norm of each loss's gradient in the last shared layer, before a step's `forward`."""

    def look_again(self, losses: Float[Tensor, " task"]) -> None:
        """Take the losses of a step's batch, computed again after the step."""

    def reward(self, score: float) -> None:
        """Take the main task's score on held-out patients; higher is better."""

    def per_task(self) -> dict[str, Float[Tensor, " task"]]:
        """Return further values to log, by name, with one value per task."""
        return {}

    def end_epoch(self) -> None:
        """Finish an epoch."""


def by_task(
    values: Mapping[str, float], tasks: tuple[str, ...], default: float | Mapping[str, float], what: str = "weights"
) -> list[float]:
    """Return one value per task, in the order of the tasks.

    Raises:
        ValueError: there is a value for a task that the stage does not learn.
    """
    unknown = sorted(set(values) - set(tasks))
    if unknown:
        raise ValueError(f"{what} are set for {', '.join(unknown)}; the stage's losses are {', '.join(tasks)}")
    defaults = default if isinstance(default, Mapping) else dict.fromkeys(tasks, default)
    return [values.get(task, defaults[task]) for task in tasks]


def where_main(main: str, tasks: tuple[str, ...]) -> list[bool]:
    """Return which of the tasks is the main one.

    Raises:
        ValueError: the stage does not learn it.
    """
    if main not in tasks:
        raise ValueError(f"weighting.main is '{main}', but the stage's losses are {', '.join(tasks)}")
    return [task == main for task in tasks]


def refuse_negative(losses: Float[Tensor, " task"], method: str, needs: str = "losses that are never negative") -> None:
    """Raise ValueError where a loss is negative.

    On an accelerator `training/divergence.py` checks the losses after each epoch instead, which saves a synchronization
    per step.
    """
    if losses.device.type == "cpu" and bool((losses < 0).any()):
        values = ", ".join(f"{loss:.4g}" for loss in losses.tolist())
        raise ValueError(f"{method} weighting needs {needs}; found {values}")


class RunningMean(nn.Module):
    r"""Running mean of one value per task: :math:`m_t = \beta m_{t-1} + (1-\beta) x_t`, divided by :math:`1-\beta^t`.

    Values that are not finite, as after an overflow in half precision, are skipped: they would stay in the mean.
    """

    total: Tensor
    share: Tensor

    def __init__(self, n_tasks: int, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.register_buffer("total", torch.zeros(n_tasks))
        self.register_buffer("share", torch.zeros(()))

    @property
    def mean(self) -> Float[Tensor, " task"]:
        """Current mean; 0 before the first value."""
        return self.total / self.share.clamp(min=torch.finfo(torch.float32).tiny)

    def forward(self, values: Float[Tensor, " task"]) -> Float[Tensor, " task"]:
        values = values.float()
        fine = values.isfinite().all()
        self.total = torch.where(fine, self.beta * self.total + (1 - self.beta) * values, self.total)
        self.share = torch.where(fine, self.beta * self.share + (1 - self.beta), self.share)
        return self.mean
