"""A comparison of arms, in memory and on disk.

compare/
    truth.npz                    labels and patients of the validation records
    claims.yaml                  reference arm and claims, copied from the folder of arms; absent where that has none
    comparison.json              base configs, fraction of labeled patients, run in MLflow
    results/ARM.0.json           seed 0 of an arm
    results/ARM.fold3.0.json     the same, evaluated on fold 3 and trained on the other folds
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from ecgmtl.comparison.claims_file import SHIPPED, ClaimsFile, read_claims
from ecgmtl.comparison.results import RESULTS, Cell, Clock, RunResult, read_result
from ecgmtl.comparison.truth import TRUTH, ComparisonError, Truth, read_truth

FACTS = "comparison.json"
KEPT_CLAIMS = "claims.yaml"
"""Copy of the `_claims.yaml` of the folder of arms that was compared."""


@dataclass(frozen=True)
class Comparison:
    """All runs of a comparison, with its truth and claims."""

    truth: Truth
    arms: dict[str, dict[Cell, RunResult]]
    """Runs by arm and cell, with the reference first and controls last."""
    label_share: float | None = None
    """Fraction of labeled patients that all arms were trained with. None if it is not known or differs."""
    claims: ClaimsFile = field(default_factory=lambda: read_claims(SHIPPED).model_copy(update={"claims": ()}))

    @property
    def reference(self) -> str:
        """Name of the arm that every other arm is compared with."""
        return self.claims.reference

    @property
    def equal_compute(self) -> str | None:
        """Name of the arm that is trained as the reference is, but for as long as an auxiliary task would cost."""
        return self.claims.equal_compute

    @property
    def others(self) -> list[str]:
        """Names of all arms but the reference."""
        return [arm for arm in self.arms if arm != self.reference]

    def about(self, arm: str) -> RunResult:
        """Return any run of the arm. Its description of the arm is the same in all."""
        return next(iter(self.arms[arm].values()))

    @property
    def by_origin(self) -> dict[str, set[str]]:
        """Arms that have runs, by what these were trained with. Results of earlier versions do not state it."""
        arms: dict[str, set[str]] = {}
        for run in (run for runs in self.arms.values() for run in runs.values()):
            if run.made_with:
                arms.setdefault(run.made_with, set()).add(run.arm)
        return arms

    @property
    def folds(self) -> tuple[int, ...]:
        """Folds that runs are evaluated on, in rising order. Empty without folds."""
        runs = (run for runs in self.arms.values() for run in runs.values())
        return tuple(sorted({run.fold for run in runs if run.fold is not None}))

    @property
    def is_over_folds(self) -> bool:
        """Whether intervals are over folds. With a single fold, or none, they are over seeds and patients."""
        return len(self.folds) > 1

    def units(self, cells: Iterable[Cell]) -> Int64[np.ndarray, " cell"]:
        """Return the fold of each cell, or its seed where intervals are over seeds."""
        split = [(cell, cell) if isinstance(cell, int) else cell for cell in cells]
        return np.array([fold if self.is_over_folds else seed for fold, seed in split], dtype=np.int64)

    def by_unit(
        self, cells: Iterable[Cell], values: Float64[np.ndarray, "cell ..."]
    ) -> Float64[np.ndarray, "unit ..."]:
        """Average a figure over the seeds of each fold. Where intervals are over seeds, return it as it is."""
        if not self.is_over_folds:
            return values
        units = self.units(cells)
        means = [values[units == unit].mean(axis=0) for unit in np.unique(units)]
        return np.stack(means) if means else values

    def paired(self, arm: str, reference: str | None = None) -> list[Cell]:
        """Return the cells that the arm shares with the reference, or with another arm."""
        others = self.arms.get(reference or self.reference, {})
        return [cell for cell in self.arms[arm] if cell in others]

    def paired_figures(
        self, arm: str, figure: Callable[[RunResult], float], reference: str | None = None
    ) -> tuple[Float64[np.ndarray, " unit"], Float64[np.ndarray, " unit"]]:
        """Return a figure of the arm and of the reference by the seeds, or the folds, that they share."""
        cells = self.paired(arm, reference)
        mine, others = (
            np.array([figure(self.arms[name][cell]) for cell in cells], dtype=np.float64)
            for name in (arm, reference or self.reference)
        )
        return self.by_unit(cells, mine), self.by_unit(cells, others)

    def reference_final(self, fold: int | None = None) -> float:
        """Return the reference's final macro AUROC, as the mean over its runs or over those of one fold."""
        runs = self.arms[self.reference].values()
        return float(np.mean([run.macro_auroc for run in runs if fold is None or run.fold == fold]))

    def budget(self, clock: Clock = "samples_seen") -> float:
        """Return how long the reference arm was trained. All curves and times are compared up to there."""
        return float(np.mean([getattr(run.curve[-1], clock) for run in self.arms[self.reference].values()]))


def read_comparison(folder: Path) -> Comparison:
    """Read all finished runs of a folder.

    Raises:
        ComparisonError: the folder has no truth or no run of the reference arm, a file is damaged, or probabilities
            have other records than the truth.
    """
    truth, claims = read_truth(folder), read_claims(folder / KEPT_CLAIMS)
    runs = []
    for path in sorted((folder / RESULTS).glob("*.json")):
        run = read_result(path)
        if (run.fold is None) != (truth.folds is None):
            kinds = ("a fold", "no folds") if truth.folds is None else ("no fold", "folds")
            raise ComparisonError(f"{path}: evaluated on {kinds[0]}, but {TRUTH} has {kinds[1]}; run it again.")
        labels = truth.of_fold(run.fold).labels
        if run.scores.shape != labels.shape:
            shape, expected = " × ".join(map(str, run.scores.shape)), " × ".join(map(str, labels.shape))
            raise ComparisonError(f"{path}: {shape} probabilities, but {TRUTH} has {expected} labels; run it again.")
        runs.append(run)
    if not any(run.arm == claims.reference for run in runs):
        names = ", ".join(sorted({run.arm for run in runs})) or "no run at all"
        raise ComparisonError(
            f"{folder}: there is no run of arm '{claims.reference}', which others are compared with; found {names}. "
            f"Run `ecgmtl compare` with this arm."
        )
    arms: dict[str, dict[Cell, RunResult]] = {}
    for run in sorted(runs, key=partial(table_order, claims)):
        arms.setdefault(run.arm, {})[run.cell] = run
    return Comparison(truth, arms, facts_of(folder).get("label_share"), claims)


def facts_of(folder: Path) -> dict[str, Any]:
    """Return the facts that `ecgmtl compare` stored about a comparison.

    Raises:
        ComparisonError: the file is damaged.
    """
    path = folder / FACTS
    if not path.is_file():
        return {}
    remedy = "delete it, and `ecgmtl compare` writes it again"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ComparisonError(f"{path}: damaged ({error}); {remedy}.") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("bases", {}), dict):
        raise ComparisonError(f"{path}: should contain the facts of a comparison; {remedy}.")
    return facts


def table_order(claims: ClaimsFile, run: RunResult) -> tuple[Any, ...]:
    """Return a sort key: the reference first, groups by name with controls last, arms with numbers by number."""
    natural = [float(part) if part[0].isdecimal() else part for part in re.findall(r"\d+(?:\.\d+)?|\D+", run.arm)]
    keyed = [(isinstance(part, str), part) for part in natural]
    return (
        run.arm != claims.reference,
        run.arm != claims.equal_compute,
        run.is_control,
        run.group,
        keyed,
        run.cell,
    )
