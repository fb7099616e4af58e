"""GradNorm: weights for which all tasks train at similar rates (Chen et al., ICML 2018)."""

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
"""Loss of a constant prediction that ignores how common labels are, by likelihood."""

SMOOTHING = 0.9
"""Decay of the running means per step."""


class GradNormSettings(MethodSettings):
    """Settings of GradNorm."""

    needs_positive: ClassVar[bool] = True
    looks_at_encoder: ClassVar[bool] = True
    kind: Literal["gradnorm"] = "gradnorm"
    alpha: NonNegativeFloat = 1.5
    """Strength with which slow tasks are favored; 0 makes all gradients equally long."""
    every: PositiveInt = 10
    """Steps from one update of the weights to the next."""
    lr: PositiveFloat = 0.025
    """Learning rate of the weights' logarithms."""
    until: float = Field(1.0, ge=0, le=1)
    """Fraction of the stage's steps after which the weights stay constant."""
    start: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Loss of an untrained network, by task; the theoretical value for tasks that are not named."""

    def check(self, stage: StageFacts) -> None:
        super().check(stage)
        guessed = [task.name for task in stage.tasks if not task.has_theory and task.name not in self.start]
        if guessed:
            raise ValueError(
                f"stage '{stage.name}': gradnorm needs the {guessed[0]} loss of an untrained network, for which there "
                f"is no theoretical value; set weighting.start.{guessed[0]}, or use another weighting"
            )
        if stage.algorithm == "sgd":
            raise ValueError(
                f"stage '{stage.name}': gradnorm needs an optimizer whose steps do not shrink with the gradients; set "
                f"optimizer.algorithm to adamw, or use a weighting other than gradnorm"
            )

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "GradNorm":
        return GradNorm(tasks, self)


class GradNorm(Weighting):
    r"""Weights :math:`w = n\,\mathrm{softmax}(v)` for n tasks, which are positive and add up to n.

    v descends :math:`\sum_i | G_i - \bar G r_i^\alpha |` with :math:`G_i = w_i \|\nabla_W L_i\|` and the relative
    inverse training rate :math:`r_i = \tilde L_i / \overline{\tilde L}`, where :math:`\tilde L_i = L_i(t) / L_i(0)`
    (equations 1 and 2; the target and the norms are constants). As :math:`G_i` is linear in :math:`w_i > 0`, the
    gradient, :math:`\mathrm{sign}(G_i - \bar G r_i^\alpha) \|\nabla_W L_i\|` for w, needs no second derivative of the
    network and cannot leak into it. A task whose loss falls too slowly gets a larger weight.

    :math:`L_i(0)` is the theoretical loss that the paper's footnote allows, so that a task learned in an earlier stage
    does not look slow: for squared errors the variance of a standardized signal, for labels their entropy, since
    classifiers start at the labels' prevalence. Losses and norms are running means.
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
        """Return the initial losses, those of the settings first."""
        return torch.tensor(by_task(self.settings.start, self.tasks, untrained, what="starting losses"))

    def expect(self, untrained: Mapping[str, float]) -> None:
        self.start.copy_(self.starts(untrained))

    @property
    def weights(self) -> Float[Tensor, " task"]:
        return len(self.logits) * torch.softmax(self.logits, dim=0)

    @property
    def rate(self) -> Float[Tensor, " task"]:
        """Relative inverse training rate: above 1 for a task whose loss falls more slowly than the mean."""
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
        """Compute the loss of the weights."""
        scaled = weights * self.norms.mean
        target = scaled.detach().mean() * self.rate**self.settings.alpha
        return (scaled - target).abs().sum()

    def per_task(self) -> dict[str, Float[Tensor, " task"]]:
        return {"norm": self.norms.mean, "rate": self.rate}

    def get_extra_state(self) -> dict[str, bool]:
        return {"observed": self.observed}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.observed = state["observed"]
