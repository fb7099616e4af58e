"""Simulate what a comparison over folds can show, before any of it is run.

python docs/make/power.py --folds 9 --seeds 2 --patients 0.33 --seed-spread 0.43 --tests 8

The paired difference of two arms in one fold is the true one plus the deviations of its patients, of its training
records, and of each seed, all normal. Every simulated comparison is judged as the report judges: seeds are averaged
within their fold, and a t interval is taken over folds.

The defaults are those of the runs behind docs/evidence.md with all labels: 0.43 points over seeds, and 0.41 over the
patients of a fold of 267 records, which is 0.33 for the 426 records of a ninth of 3,835. With a tenth of the labels,
they are 0.82 and 0.47. The spread over training records was not measured there: the true smallest effect is larger.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.stats import t as student


@dataclass(frozen=True)
class Design:
    """A comparison over folds with its components of variance, in points of macro AUROC."""

    folds: int = 9
    seeds: int = 2
    patients: float = 0.33
    """Standard deviation of a fold's paired difference over other patients, as many as the fold has."""
    seed_spread: float = 0.43
    """Standard deviation of a run's paired difference over other seeds."""
    training: float = 0.0
    """Standard deviation of a fold's paired difference over other training records."""
    tests: int = 1
    """Number of contrasts that Holm corrects for."""


@dataclass(frozen=True)
class Power:
    """What a design shows, in points."""

    half_width: float
    """Mean half-width of the 95 % interval."""
    coverage: float
    """Fraction of 95 % intervals that hold the true difference."""
    smallest_effect: float
    """Smallest true difference that is found with a power of 80 %, at the strictest level of Holm's correction."""
    chances: dict[float, float]
    """Chance that a true difference is found, by its size."""


def simulate(design: Design, n: int = 100_000, seed: int = 0, effects: tuple[float, ...] = (0.3, 0.5, 1.0)) -> Power:
    """Simulate comparisons of two arms that do not differ, and shift them by the effects."""
    rng = np.random.default_rng(seed)
    of_fold = np.hypot(design.patients, design.training)
    folds = rng.normal(0, of_fold, (n, design.folds))
    folds += rng.normal(0, design.seed_spread, (n, design.folds, design.seeds)).mean(axis=2)
    means, errors = folds.mean(axis=1), folds.std(axis=1, ddof=1) / np.sqrt(design.folds)

    def half_widths(level: float) -> Float64[np.ndarray, " comparison"]:
        return np.asarray(student.ppf(1 - level / 2, design.folds - 1) * errors, dtype=np.float64)

    usual, strict = half_widths(0.05), half_widths(0.05 / design.tests)
    needed = strict - means  # a true difference above this is found in this comparison
    return Power(
        half_width=float(usual.mean()),
        coverage=float((np.abs(means) <= usual).mean()),
        smallest_effect=float(np.quantile(needed, 0.8)),
        chances={effect: float((needed < effect).mean()) for effect in effects},
    )


def main() -> None:
    default = Design()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--folds", type=int, default=default.folds)
    parser.add_argument("--seeds", type=int, default=default.seeds)
    parser.add_argument("--patients", type=float, default=default.patients)
    parser.add_argument("--seed-spread", type=float, default=default.seed_spread)
    parser.add_argument("--training", type=float, default=default.training)
    parser.add_argument("--tests", type=int, default=default.tests)
    design = Design(**vars(parser.parse_args()))
    power = simulate(design)
    lines = [
        f"half-width of the 95 % interval: {power.half_width:.2f} points, which covers {power.coverage:.1%}",
        f"smallest effect with a power of 80 %, corrected for {design.tests}: {power.smallest_effect:.2f} points",
        *(f"chance to find a true {effect:+g}: {chance:.0%}" for effect, chance in power.chances.items()),
    ]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
