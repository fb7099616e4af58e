"""How the parameters of a stage move: AdamW, its learning rate over the steps, and the running mean of the weights."""

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from ecgmtl.settings import Settings
from ecgmtl.weighting import Weighting

WEIGHTING_LR = 1e-2
"""Adam moves a parameter by about its rate a step: at the network's rate, log-variances would lag behind the losses."""


class OptimiserSettings(Settings):
    lr: PositiveFloat = 2e-3
    """Highest learning rate."""
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    """After the warm-up; one_cycle warms up over 30 % of the steps, whatever `warmup` says (Smith, 2018)."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps over which the rate rises from 0."""
    weight_decay: NonNegativeFloat = 0.02
    """Of matrices alone: biases, norms and what a weighting learns are not decayed."""
    clip: PositiveFloat | None = 1.0
    """Largest norm of the gradient."""
    ema: float = Field(0.99, ge=0, lt=1)
    """Decay a step of the running mean of the weights, which is what is validated and kept; 0 for none."""

    def lr_at(self, progress: float) -> float:
        """The rate when this share of the steps, 0 to 1, is done."""
        if self.schedule == "constant":
            return self.lr * min(1.0, progress / self.warmup if self.warmup else 1.0)
        rise = 0.3 if self.schedule == "one_cycle" else self.warmup
        if progress < rise:
            return self.lr * progress / rise
        return self.lr * 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


def build_optimiser(
    parameters: Iterable[nn.Parameter], weighting: Weighting, settings: OptimiserSettings
) -> torch.optim.AdamW:
    """Three groups: matrices, the network's other parameters (no decay), the weighting's own (no decay, fixed rate)."""
    learnt = [parameter for parameter in parameters if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in learnt if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in learnt if p.dim() <= 1]},
        {"params": list(weighting.parameters()), "lr": WEIGHTING_LR},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.lr, weight_decay=0.0, fused=True)


def set_lr(optimiser: torch.optim.Optimizer, lr: float, n_network_groups: int) -> None:
    for group in optimiser.param_groups[:n_network_groups]:
        group["lr"] = lr


class WeightAverage:
    """The exponential running mean of a model's weights and statistics, started without bias.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that the random start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.n_updates = 0
        self.mean = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates)) if self.decay else 0.0
        self.n_updates += 1
        now = model.state_dict()
        floats = [name for name, value in self.mean.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.mean[n] for n in floats], [now[n] for n in floats], 1 - decay)
        for name in self.mean.keys() - set(floats):
            self.mean[name].copy_(now[name])

    def state_dict(self) -> dict[str, Tensor | int]:
        return {"n_updates": self.n_updates, **{f"mean.{name}": value for name, value in self.mean.items()}}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        self.n_updates = int(state["n_updates"])
        for name, value in self.mean.items():
            value.copy_(torch.as_tensor(state[f"mean.{name}"]))
