"""Auxiliary weights that decay by a schedule, while the main task keeps the weight 1."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor

from ecgmtl.optimization.weighting.base import MethodSettings, Moment, Weighted, Weighting, where_main
from ecgmtl.tasks import MAIN, StageFacts

Shape = Literal["linear", "cosine", "exponential", "step"]


class DecaySettings(MethodSettings):
    """Settings of decaying weights."""

    kind: Literal["decay"] = "decay"
    main: str = MAIN
    """Task whose loss always has the weight 1."""
    auxiliary: tuple[str, ...] = ()
    """Tasks whose weight decays, while the others keep the weight 1. Without names, all tasks but the main one."""
    start: NonNegativeFloat = 0.5
    """Weight of each auxiliary task at the first step."""
    floor: NonNegativeFloat = 0.0
    """Lowest weight of an auxiliary task."""
    shape: Shape = "cosine"
    """Shape of the decay."""
    rate: float = Field(0.01, ge=0, le=1)
    """exponential: ratio of the last weight to the first."""
    n_steps: PositiveInt = 4
    """step: number of equal steps."""

    @model_validator(mode="after")
    def falls(self) -> "DecaySettings":
        if self.floor > self.start:
            raise ValueError(f"the weight falls from start {self.start} to floor {self.floor}; floor should be lower")
        return self

    def check(self, stage: StageFacts) -> None:
        super().check(stage)
        if stage.follows_shortest:
            raise ValueError(
                f"stage '{stage.name}': a weight that decays makes the auxiliary gradient the shortest, and the "
                f"gradient rule follows the shortest; use another rule, or weights that do not decay"
            )

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Decay":
        is_main = where_main(self.main, tasks)
        if self.main in self.auxiliary:
            raise ValueError(f"weighting.auxiliary names {self.main}, which is weighting.main; name other tasks")
        unknown = sorted(set(self.auxiliary) - set(tasks))
        if unknown:
            raise ValueError(
                f"weighting.auxiliary names {', '.join(unknown)}; the stage's losses are {', '.join(tasks)}"
            )
        return Decay([task not in self.auxiliary for task in tasks] if self.auxiliary else is_main, self)

    def weight(self, progress: float) -> float:
        """Return the auxiliary weight when this fraction of the steps is done."""
        shapes: dict[Shape, Callable[[float], float]] = {
            "linear": lambda p: 1 - p,
            "cosine": lambda p: 0.5 * (1 + math.cos(math.pi * p)),
            "exponential": lambda p: self.rate**p,
            "step": lambda p: 1 - min(math.floor(p * self.n_steps), self.n_steps - 1) / self.n_steps,
        }
        return max(self.start * shapes[self.shape](progress), self.floor)


class Decay(Weighting):
    r"""Decaying weights: the network follows :math:`\nabla L_{main} + \lambda(p) \sum_{aux} \nabla L_i`.

    p is the fraction of the stage's steps that is done. At a weight of exactly 0 the auxiliary tasks are not computed.
    Tasks that are neither the main nor an auxiliary one count as main ones.
    """

    keeps_weight: Tensor

    def __init__(self, keeps_weight: list[bool], settings: DecaySettings) -> None:
        super().__init__()
        self.settings = settings
        self.main_alone = tuple(keeps_weight)
        self.register_buffer("keeps_weight", torch.tensor(keeps_weight))

    def active(self, moment: Moment) -> tuple[bool, ...] | None:
        return None if self.settings.weight(moment.progress) > 0 else self.main_alone

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        return Weighted(torch.where(self.keeps_weight, 1.0, self.settings.weight(moment.progress)))
