"""Any aggregator of the optional package torchjd, for comparison."""

from importlib import import_module
from typing import Any, Literal

import torch
from jaxtyping import Float32
from pydantic import Field
from torch import Tensor, nn

from ecgmtl.optimization.gradient_rules.base import GradientRule, RuleSettings

UNKEEPABLE = {"NashMTL": "for two tasks the rule bisector has its direction, and FairGrad with alpha 1 for more"}
"""Replacements of aggregators whose state lies in a solver's own objects, which no checkpoint can hold."""


class TorchjdSettings(RuleSettings):
    """Settings of an aggregator of torchjd."""

    kind: Literal["torchjd"] = "torchjd"
    aggregator: str = "ConFIG"
    """Name of the aggregator in torchjd.aggregation."""
    options: dict[str, bool | int | float | str | list[float]] = Field(default_factory=dict)
    """Arguments of the aggregator's class; a list becomes a tensor."""

    def build(self, tasks: tuple[str, ...], seed: int = 0) -> "Torchjd":
        return Torchjd(build_aggregator(self.aggregator, self.options), seed)


def build_aggregator(name: str, options: dict[str, Any]) -> nn.Module:
    """Build an aggregator by name.

    Raises:
        ValueError: torchjd or a package that this aggregator needs is missing, there is no such aggregator, the
            options do not fit it, or it has a state that cannot be saved.
    """
    try:
        package = import_module("torchjd.aggregation")
    except ImportError as error:
        raise ValueError("the gradient rule torchjd needs the package of that name: pip install torchjd") from error
    known = [other for other in package.__all__ if is_aggregator(getattr(package, other), package.Aggregator)]
    if name not in known:
        raise ValueError(f"torchjd has no aggregator '{name}'; it has {', '.join(known)}")
    if name in UNKEEPABLE:
        raise ValueError(f"torchjd's {name} keeps a state that no checkpoint can hold; {UNKEEPABLE[name]}")
    arguments = {key: torch.tensor(v, dtype=torch.float64) if isinstance(v, list) else v for key, v in options.items()}
    try:
        aggregator: nn.Module = getattr(package, name)(**arguments)
    except (ImportError, TypeError, ValueError) as error:
        raise ValueError(f"torchjd's {name} cannot be built with the options {options}: {error}") from error
    return aggregator


def is_aggregator(candidate: object, base: type) -> bool:
    """Return whether an object is an aggregator, not one of the package's base classes or weightings."""
    is_base = getattr(candidate, "__name__", "") in ("Aggregator", "WeightedAggregator", "GramianWeightedAggregator")
    return isinstance(candidate, type) and issubclass(candidate, base) and not is_base


class Torchjd(GradientRule):
    """Rule that gives the gradients to an aggregator: main task first, in float64, divided by their common norm.

    Several aggregators add absolute constants of about 1e-4 to the squared norm, and would turn short gradients into
    their mean or into 0. So the gradients are divided by their norm before, and the step is multiplied by it after.
    (Lengths that an aggregator remembers are then relative to the norm of their step.) Its state is kept as extra
    state, because a fresh aggregator refuses the buffers of a used one.
    """

    def __init__(self, aggregator: nn.Module, seed: int) -> None:
        super().__init__()
        self.held = (aggregator,)  # in a tuple, so that its buffers are not among this module's
        self.seed = seed

    @torch.no_grad()
    def combine(self, rows: Float32[Tensor, "task parameter"], main: int, step: int) -> Float32[Tensor, " parameter"]:
        wide = rows.double()
        norm = wide.norm()
        if not norm.isfinite():
            return torch.full_like(rows[0], torch.nan)
        if int(wide.any(dim=1).sum()) < 2:
            return rows.sum(dim=0)
        order = [main, *(i for i in range(len(rows)) if i != main)]
        devices = [rows.device] if rows.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed((self.seed << 32) + step)
            step_taken: Tensor = self.held[0].to(rows.device)(wide[order] / norm)
        return (step_taken * norm).float()

    def get_extra_state(self) -> dict[str, dict[str, Any]]:
        return {path: remembered(part) for path, part in self.held[0].named_modules()}

    def set_extra_state(self, state: dict[str, dict[str, Any]]) -> None:
        for path, part in self.held[0].named_modules():
            for name, value in state[path].items():
                setattr(part, name, value.clone() if isinstance(value, Tensor) else value)


def remembered(part: nn.Module) -> dict[str, Any]:
    """Return the state that an aggregator carries from step to step: its buffers, even if unset, and their shape."""
    attributes = vars(part)
    plain = {name: attributes[name] for name in ("_n_steps", "_state_key") if name in attributes}
    return {**attributes["_buffers"], **plain}
