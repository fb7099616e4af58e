"""What every way of weighting promises."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ecgmtl.settings import Settings
from ecgmtl.tasks import StageFacts


class Moment(NamedTuple):
    """Where in its stage a step stands."""

    step: int
    """From 0."""
    epoch: int
    """From 0."""
    progress: float
    """The share of the stage's steps that is done, from 0 to 1."""


class Weighted(NamedTuple):
    weights: Float[Tensor, " task"]
    r"""Constants: the network follows :math:`\sum_i w_i \nabla L_i`."""
    objective: Float[Tensor, ""] | None = None
    """What the weighting's own parameters descend; None where it learns nothing by gradient."""


class MethodSettings(Settings, ABC):
    """Options of one way of weighting."""

    kind: str
    needs_positive: ClassVar[bool] = False
    """Whether a loss below zero breaks the method."""
    looks_at_encoder: ClassVar[bool] = False
    """Whether the method compares gradients in parameters that the tasks share."""

    def check(self, stage: StageFacts) -> None:
        """Raise ValueError, with a sentence about it, where the stage does not fit the method."""
        negative = [task.name for task in stage.tasks if task.can_be_negative]
        if self.needs_positive and negative:
            raise ValueError(
                f"stage '{stage.name}': {self.kind} weighting needs losses that are never negative, and that of "
                f"{', '.join(negative)} can be; take fixed or decay weights"
            )

    @abstractmethod
    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Weighting":
        """The weighting of these tasks; a ValueError says where they do not go together.

        seed: of what the method draws, together with the step.
        """


class Weighting(nn.Module, ABC):
    """Weighs the tasks of a stage, in the order of its `losses`.

    What must survive a resumed run lies in parameters and in buffers of fixed shape, or in the extra state; random
    draws depend on the step alone. So a fresh object with the state of a used one goes on with the same weights.
    """

    lr: float = 1e-2
    """Of its own parameters: Adam moves one by about this a step, and at the network's rate they would lag behind."""
    weight_decay: float = 0.0
    norms_every: int = 0
    """Steps from one call of `observe` to the next; 0 for none."""
    looks_again: bool = False
    """Whether `look_again` is wanted after each step."""
    reward_every: int = 0
    """Steps from one call of `reward` to the next; 0 for none."""
    reward_patients: float = 0.0
    """The share of the training patients that is kept out of training for `reward`."""

    def expect(self, untrained: Mapping[str, float]) -> None:
        """Called once, before all else: by task, the loss that is to be expected of an untrained network."""

    def begin(self, losses: Float[Tensor, " task"]) -> None:
        """Called once, with the losses of a stage's first batch, before its first step."""

    def active(self, moment: Moment) -> tuple[bool, ...] | None:
        """Which tasks are learnt at this step; None for all. The others are not computed: their loss is given as 0."""
        return None

    @abstractmethod
    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        """The weights of this step; the losses are constants, means over all ranks."""

    def observe(self, norms: Float[Tensor, " task"]) -> None:
        """Before a step's `forward`: the norm of each loss's gradient in the last layer that the tasks share."""

    def look_again(self, losses: Float[Tensor, " task"]) -> None:
        """After a step: the losses of its batch anew."""

    def reward(self, score: float) -> None:
        """How good the main task is on patients kept out of training; higher is better."""

    def per_task(self) -> dict[str, Float[Tensor, " task"]]:
        """What else is worth a curve in the log, by name, a number a task."""
        return {}

    def end_epoch(self) -> None:
        """Called once after each epoch."""


def by_task(
    given: Mapping[str, float], tasks: tuple[str, ...], default: float | Mapping[str, float], what: str = "weights"
) -> list[float]:
    """A number a task, in the tasks' order; a name that is none of them is refused.

    Raises:
        ValueError: a number is given for a task the stage does not learn.
    """
    unknown = sorted(set(given) - set(tasks))
    if unknown:
        raise ValueError(f"{what} are given for {', '.join(unknown)}; the stage's losses are {', '.join(tasks)}")
    defaults = default if isinstance(default, Mapping) else dict.fromkeys(tasks, default)
    return [given.get(task, defaults[task]) for task in tasks]


def where_main(main: str, tasks: tuple[str, ...]) -> list[bool]:
    """Which of the tasks is the main one.

    Raises:
        ValueError: the stage does not learn it.
    """
    if main not in tasks:
        raise ValueError(f"weighting.main is '{main}', but the stage's losses are {', '.join(tasks)}")
    return [task == main for task in tasks]


def refuse_negative(losses: Float[Tensor, " task"], method: str, needs: str = "losses that are never negative") -> None:
    """Raise where a loss is negative. On an accelerator the trainer watches the losses instead: no sync a step.

    Raises:
        ValueError: a loss is below zero.
    """
    if losses.device.type == "cpu" and bool((losses < 0).any()):
        found = ", ".join(f"{loss:.4g}" for loss in losses.tolist())
        raise ValueError(f"{method} weighting needs {needs}; found {found}")


class RunningMean(nn.Module):
    r"""Of a number a task: :math:`m_t = \beta m_{t-1} + (1-\beta) x_t`, divided by :math:`1-\beta^t`; all is kept.

    What is not finite, as after an overflow in half precision, is passed over: it would stay in the mean for ever.
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
        """0 as long as there is nothing."""
        return self.total / self.share.clamp(min=torch.finfo(torch.float32).tiny)

    def forward(self, values: Float[Tensor, " task"]) -> Float[Tensor, " task"]:
        values = values.float()
        fine = values.isfinite().all()
        self.total = torch.where(fine, self.beta * self.total + (1 - self.beta) * values, self.total)
        self.share = torch.where(fine, self.beta * self.share + (1 - self.beta), self.share)
        return self.mean
