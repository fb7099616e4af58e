"""Registry of faults: for each, the function that causes it, a description, and the bounds of its figures."""

import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Trial(NamedTuple):
    """Folders, scale and random numbers that the function of a fault uses."""

    folder: Path
    """An empty folder to work in."""
    scale: float
    """Fraction of the full counts."""
    seed: int
    shared: Path
    """Folder that all faults of a call share."""
    ends: float = math.inf
    """Monotonic time after which no kill begins, however many are left."""

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.ends

    def count(self, full: int, least: int = 1) -> int:
        """Return the number of cases at this scale, if there are `full` at scale 1."""
        return max(least, round(full * self.scale))

    @property
    def chance(self) -> random.Random:
        return random.Random(self.seed)

    def chance_of(self, number: int) -> random.Random:
        """Return the random numbers of one of several repetitions."""
        return random.Random(f"{self.seed} {number}")


class Measured(NamedTuple):
    """Cases that were tried, and their figures."""

    cases: str
    figures: dict[str, float]


class Most(NamedTuple):
    """Largest value of a figure with which a fault still counts as survived."""

    value: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.value:,g} {self.unit}".strip()


Run = Callable[[Trial], Measured]


class Fault(NamedTuple):
    """A fault and what surviving it means."""

    what: str
    required: dict[str, Most]
    run: Run

    def is_survived(self, figures: dict[str, float]) -> bool:
        """Return whether all figures are there and none is above its bound. NaN is above every bound."""
        return all(figures.get(name, float("nan")) <= most.value for name, most in self.required.items())


FAULTS: dict[str, Fault] = {}
"""Faults by their ids: R1 to R28, then those that were added."""


def fault(name: str, what: str, required: dict[str, Most]) -> Callable[[Run], Run]:
    """Register a function that makes a fault.

    Args:
        name: id of the fault.
        what: what is done, in a few words.
        required: bounds of the figures that the function returns.
    """

    def register(run: Run) -> Run:
        FAULTS[name] = Fault(what, required, run)
        return run

    return register
