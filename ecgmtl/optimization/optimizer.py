"""The optimizer of a stage, with its learning-rate schedule, its parameter groups and EMA weights."""

import math
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any, Generic, Literal, TypeVar

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from ecgmtl.model.encoders import Encoder
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.optimization.weighting import Weighting
from ecgmtl.settings import Settings

M = TypeVar("M", bound=nn.Module)


class OptimizerSettings(Settings):
    """Settings of the optimizer."""

    lr: PositiveFloat = 2e-3
    """Highest learning rate."""
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    """Learning-rate schedule after the warm-up; one_cycle warms up over 30 % of the steps, whatever `warmup` is
    (Smith, 2018)."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Fraction of the steps over which the learning rate rises from 0."""
    weight_decay: NonNegativeFloat = 0.02
    """Weight decay of matrices only. Biases, normalization parameters and learned task weights are excluded."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Ratio of a layer's learning rate to that of the layer above it, in the encoder; heads have the full rate."""
    dynamics_lr: PositiveFloat = 1e-3
    """Highest learning rate of the parameters that set an encoder's time scales (s4d); higher ones diverge."""
    algorithm: Literal["adamw", "sgd"] = "adamw"
    """Algorithm; sgd has a momentum of 0.9. A constant factor on the loss changes its steps, but hardly adamw's."""
    clip: PositiveFloat | None = 1.0
    """Largest norm of the gradient, to which longer ones are clipped."""
    ema: float = Field(0.99, ge=0, lt=1)
    """Decay of the EMA weights per step, which are validated and kept; 0 for none.

    The decay rises to this value: 0.99 is reached after 890 steps, 0.996 after 2,240, 0.999 after 8,990."""

    def lr_at(self, progress: float) -> float:
        """Return the learning rate when this fraction of the steps is done."""
        if self.schedule == "constant":
            return self.lr * min(1.0, progress / self.warmup if self.warmup else 1.0)
        rise = 0.3 if self.schedule == "one_cycle" else self.warmup
        if progress < rise:
            return self.lr * progress / rise
        return self.lr * 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


def build_optimizer(
    layers: Iterable[tuple[float, Iterable[nn.Parameter]]], weighting: Weighting, settings: OptimizerSettings
) -> torch.optim.Optimizer:
    """Build the optimizer. Only the network's matrices are decayed.

    layers: parameters of each layer with their fraction of a step's learning rate. The weighting's own learning rate is
    constant.
    """
    groups: list[dict[str, Any]] = []
    for part, layer in layers:
        trained = [parameter for parameter in layer if parameter.requires_grad]
        groups.append(
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay, "part": part}
        )
        groups.append({"params": [p for p in trained if p.dim() <= 1], "part": part})
    own = {"lr": weighting.lr, "weight_decay": weighting.weight_decay, "part": None}
    groups.append({"params": list(weighting.parameters()), **own})
    used = [group for group in groups if group["params"]]
    if settings.algorithm == "sgd":
        return torch.optim.SGD(used, lr=settings.lr, momentum=0.9)
    return torch.optim.AdamW(used, lr=settings.lr, weight_decay=0.0, fused=True)


def layer_rates(model: MultiTaskModel, settings: OptimizerSettings) -> Iterator[tuple[float, list[nn.Parameter]]]:
    """Yield all parameters, each once, with their fraction of the learning rate."""
    encoders = (module for module in model.modules() if isinstance(module, Encoder))
    slow = {id(parameter) for encoder in encoders for parameter in encoder.dynamics()}
    slower = min(1.0, settings.dynamics_lr / settings.lr)
    for part, layer in layers_below(model, settings.layer_decay):
        yield part, [parameter for parameter in layer if id(parameter) not in slow]
        yield part * slower, [parameter for parameter in layer if id(parameter) in slow]


def layers_below(model: MultiTaskModel, decay: float) -> Iterator[tuple[float, list[nn.Parameter]]]:
    """Yield the encoder's layers from the highest down, with falling fractions of the learning rate, then the rest."""
    layers = model.encoder.layers() if decay < 1 else []
    for height, layer in enumerate(reversed(layers), 1):
        yield decay**height, layer
    taken = {id(parameter) for layer in layers for parameter in layer}
    yield 1.0, [parameter for parameter in model.parameters() if id(parameter) not in taken]


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of each parameter group, as its fraction of `lr`."""
    for group in optimizer.param_groups:
        if group["part"] is not None:
            group["lr"] = lr * group["part"]


class WeightAverage(Generic[M]):
    """EMA weights: the exponential moving average of a model's weights and statistics, as a frozen model.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that the random initial weights soon vanish.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.decay = decay
        self.n_updates = 0
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.mean: dict[str, Tensor] = self.model.state_dict()

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Average the weights of the model in."""
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
