"""GradNorm: weights by which all tasks' gradients in the last shared layer train at like rates (Chen et al., 2018)."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ecgmtl.optimization.weighting.base import (
    MethodSettings,
    Moment,
    RunningMean,
    Weighted,
    Weighting,
    by_task,
    refuse_negative,
)
from ecgmtl.tasks import StageFacts, build_task

START = {"gaussian": 1.0, "bernoulli": math.log(2)}
"""The loss of who knows nothing, not even how common labels are."""

SMOOTHING = 0.9


class GradNormSettings(MethodSettings):
    needs_positive: ClassVar[bool] = True
    looks_at_encoder: ClassVar[bool] = True
    kind: Literal["gradnorm"] = "gradnorm"
    alpha: NonNegativeFloat = 1.5
    """How much more a task counts that falls behind; 0 makes all gradients equally long."""
    every: PositiveInt = 10
    """Steps from one update of the weights to the next."""
    lr: PositiveFloat = 0.025
    """Of the weights' logarithms."""
    until: float = Field(1.0, ge=0, le=1)
    """The weights stay as they are when this share of the stage's steps is done."""
    start: dict[str, PositiveFloat] = Field(default_factory=dict)
    """By task, the loss of an untrained network; where absent what is expected of one."""

    def check(self, stage: StageFacts) -> None:
        super().check(stage)
        guessed = [task.name for task in stage.tasks if not task.has_theory and task.name not in self.start]
        if guessed:
            raise ValueError(
                f"stage '{stage.name}': no theory tells the {guessed[0]} loss of an untrained network, from which "
                f"gradnorm measures how much is left; give it by weighting.start.{guessed[0]}, or take other weights"
            )
        if stage.algorithm == "sgd":
            raise ValueError(
                f"stage '{stage.name}': gradnorm's weights need steps that do not shrink with the gradients they "
                f"balance; take the algorithm adamw, or other weights than gradnorm"
            )

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "GradNorm":
        return GradNorm(tasks, self)


class GradNorm(Weighting):
    r"""The weights are :math:`w = n\,\mathrm{softmax}(v)` for n tasks; they are positive and add up to n.

    v descends :math:`\sum_i | G_i - \bar G r_i^\alpha |` with :math:`G_i = w_i \|\nabla_W L_i\|` and the relative
    inverse training rate :math:`r_i = \tilde L_i / \overline{\tilde L}`, where :math:`\tilde L_i = L_i(t) / L_i(0)`
    (equations 1 and 2; the target and the norms are constants). As :math:`G_i` is linear in :math:`w_i > 0`, the
    gradient, :math:`\mathrm{sign}(G_i - \bar G r_i^\alpha) \|\nabla_W L_i\|` for w, needs no second derivative of the
    network and cannot leak into it. A task that falls too slowly counts more: the rule for such imbalance.

    :math:`L_i(0)` is the theoretical loss that the paper's footnote allows, so that a task learnt in an earlier stage
    does not look slow: of squared errors the variance of a standardized signal, of labels their entropy, since
    classifiers start at the labels' shares. Losses and norms are running means.
    """

    start: Tensor

    def __init__(self, tasks: tuple[str, ...], settings: GradNormSettings) -> None:
        super().__init__()
        self.tasks, self.settings = tasks, settings
        self.lr, self.norms_every = settings.lr, settings.every
        self.register_buffer("start", self.starts({task: START[build_task(task).likelihood] for task in tasks}))
        self.losses = RunningMean(len(tasks), SMOOTHING)
        self.norms = RunningMean(len(tasks), SMOOTHING)
        self.logits = nn.Parameter(torch.zeros(len(tasks)))
        self.observed = False

    def starts(self, untrained: Mapping[str, float]) -> Float[Tensor, " task"]:
        return torch.tensor(by_task(self.settings.start, self.tasks, untrained, what="starting losses"))

    def expect(self, untrained: Mapping[str, float]) -> None:
        self.start.copy_(self.starts(untrained))

    @property
    def weights(self) -> Float[Tensor, " task"]:
        return len(self.logits) * torch.softmax(self.logits, dim=0)

    @property
    def rate(self) -> Float[Tensor, " task"]:
        """The relative inverse training rate: above 1 for a task that falls slower than the mean."""
        left = self.losses.mean / self.start
        return left / left.mean().clamp(min=1e-12)

    def observe(self, norms: Float[Tensor, " task"]) -> None:
        self.norms(norms)
        self.observed = True

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        refuse_negative(losses, "gradnorm")
        self.losses(losses)
        due = self.observed and moment.progress < self.settings.until
        self.observed = False
        weights = self.weights
        return Weighted(weights.detach(), self.unevenness(weights) if due else None)

    def unevenness(self, weights: Float[Tensor, " task"]) -> Float[Tensor, ""]:
        scaled = weights * self.norms.mean
        target = scaled.detach().mean() * self.rate**self.settings.alpha
        return (scaled - target).abs().sum()

    def per_task(self) -> dict[str, Float[Tensor, " task"]]:
        return {"norm": self.norms.mean, "rate": self.rate}

    def get_extra_state(self) -> dict[str, bool]:
        return {"observed": self.observed}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.observed = state["observed"]
