"""Auxiliary weights by a bandit whose reward is a better main task on held-out patients."""

import math
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from ecgmtl.optimization.weighting.base import MethodSettings, Moment, Weighted, Weighting, where_main
from ecgmtl.tasks import MAIN, StageFacts


class BanditSettings(MethodSettings):
    """Settings of the bandit."""

    kind: Literal["bandit"] = "bandit"
    main: str = MAIN
    """Task whose loss always has the weight 1, and whose score is the reward."""
    base: PositiveFloat = 1.0
    """Auxiliary weight that the arms multiply."""
    arms: tuple[NonNegativeFloat, ...] = Field((0.0, 0.25, 0.5, 1.0, 2.0), min_length=2)
    """Weights to choose from, in units of the base; at 0 the auxiliary tasks are not computed."""
    every: PositiveInt = 50
    """Steps from one decision to the next."""
    forgetting: float = Field(0.3, ge=0, le=1)
    """Fraction of the evidence on the arms that is forgotten at each decision."""
    control: Literal["thompson", "uniform"] = "thompson"
    """Strategy; uniform samples every arm equally often, as a control."""
    patients: float = Field(0.1, gt=0, lt=1)
    """Fraction of the training patients that is held out to compute the score."""

    def check(self, stage: StageFacts) -> None:
        super().check(stage)
        if self.main != stage.main.name:
            raise ValueError(
                f"stage '{stage.name}': the bandit is rewarded by {stage.main.name}, which selects the best epoch; "
                f"weighting.main cannot be {self.main}"
            )
        if "teachers" in stage.main.needs:
            raise ValueError(
                f"stage '{stage.name}': the bandit's reward needs labels, and {stage.main.name} alone learns none; "
                f"add {MAIN} to the losses"
            )

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Bandit":
        return Bandit(where_main(self.main, tasks), self, seed)


class Bandit(Weighting):
    r"""Thompson sampling with forgetting over a few weights of the auxiliary tasks; the main task keeps the weight 1.

    Each arm has a belief :math:`\mathrm{Beta}(\alpha_k, \beta_k)`, at first Beta(1, 1). At a decision the arm c that
    was in force is rewarded with r = 1 if the score is no worse than at the decision before, else 0:
    :math:`\alpha \leftarrow (1-\gamma)\alpha + \gamma` and likewise :math:`\beta` for all arms, then
    :math:`\alpha_c \leftarrow \alpha_c + r`, :math:`\beta_c \leftarrow \beta_c + 1 - r`. The arm with the highest
    sample from its belief is taken next (AutoSeM: Guo, Pasunuru and Bansal, NAACL 2019).

    Expect little of it. It beats its uniform control where arms differ by more than the noise of the score; where they
    differ by a tenth of that, 120 decisions are not enough to tell the two apart, and in either case an arm that is
    fixed well beforehand is better (simulated in its tests, `test_bandit.py`). All ranks have to be given the same
    score.
    """

    weights: Tensor

    def __init__(self, is_main: list[bool], settings: BanditSettings, seed: int) -> None:
        super().__init__()
        self.settings, self.seed = settings, seed
        self.reward_every, self.reward_patients = settings.every, settings.patients
        self.main_alone = tuple(is_main)
        factors = [[1.0 if main else settings.base * arm for main in is_main] for arm in settings.arms]
        self.register_buffer("weights", torch.tensor(factors), persistent=False)
        self.alpha, self.beta = np.ones(len(factors)), np.ones(len(factors))
        self.score = math.nan
        self.n_decisions = 0
        self.arm = self.sample_arm()

    def sample_arm(self) -> int:
        """Sample the next arm."""
        generator = np.random.default_rng((self.seed, self.n_decisions))
        if self.settings.control == "uniform":
            return int(generator.integers(len(self.alpha)))
        return int(np.argmax(generator.beta(self.alpha, self.beta)))

    def reward(self, score: float) -> None:
        """Reward the current arm, and choose the next. The first score gives no reward, nor does one that is NaN."""
        if not math.isnan(self.score) and not math.isnan(score):
            reward = float(score >= self.score)
            kept = 1 - self.settings.forgetting
            self.alpha = kept * self.alpha + self.settings.forgetting
            self.beta = kept * self.beta + self.settings.forgetting
            self.alpha[self.arm] += reward
            self.beta[self.arm] += 1 - reward
        if not math.isnan(score):
            self.score = score
        self.n_decisions += 1
        self.arm = self.sample_arm()

    def active(self, moment: Moment) -> tuple[bool, ...] | None:
        return None if self.settings.arms[self.arm] > 0 else self.main_alone

    def forward(self, losses: Float[Tensor, " task"], moment: Moment) -> Weighted:
        return Weighted(self.weights[self.arm])

    def per_task(self) -> dict[str, Float[Tensor, " task"]]:
        """Return the weights of the current arm, which hold from the next step on."""
        return {"arm": self.weights[self.arm].clone()}

    def get_extra_state(self) -> dict[str, Any]:
        return {
            "alpha": self.alpha.tolist(),
            "beta": self.beta.tolist(),
            "score": self.score,
            "n_decisions": self.n_decisions,
            "arm": self.arm,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.alpha, self.beta = np.array(state["alpha"]), np.array(state["beta"])
        self.score, self.n_decisions, self.arm = state["score"], state["n_decisions"], state["arm"]
