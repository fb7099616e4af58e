"""Results of a comparison of arms: one file for each run, and the truth that all runs are evaluated against.

compare/
    truth.npz                    labels and patients of the validation records
    claims.yaml                  reference arm and claims, copied from the folder of arms; absent where that has none
    comparison.json              base configs, fraction of labeled patients, run in MLflow
    results/ARM.0.json           seed 0 of an arm
    results/ARM.fold3.0.json     the same, judged on fold 3 and trained on the other folds
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from data_prep.files import write_text
from ecgmtl.comparison.claims_file import SHIPPED, ClaimsFile, read_claims
from ecgmtl.comparison.truth import TRUTH, ComparisonError, Truth, read_truth
from ecgmtl.settings import Name, Settings

RESULTS = "results"
FACTS = "comparison.json"
KEPT_CLAIMS = "claims.yaml"
"""Copy of the `_claims.yaml` of the folder of arms that was compared."""

Cell = int | tuple[int, int]
"""Seed of a run, or its fold and seed. Runs of two arms with the same cell are paired."""
Clock = Literal["step", "samples_seen", "encoder_passes", "seconds"]


class Figures(Settings):
    """Measured figures. An undefined figure is nan."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="strings")


class Point(Figures):
    """A run at one evaluation. All counts start with the run and include pretraining."""

    step: int
    samples_seen: int
    encoder_passes: float
    """Number of passes of one batch through the encoder, forward and backward."""
    seconds: float
    """Training time without evaluations."""
    macro_auroc: float | None
    """Macro AUROC on the validation records. None while the main task is not learned."""
    loss: float | None
    """Loss of the main task on the validation records."""
    train_loss: float | None
    """Unweighted training loss of the main task since the previous evaluation."""


class Tried(Figures):
    """One configuration that tuning tried for an arm."""

    settings: dict[str, Any]
    score: float
    """Validation macro AUROC."""


def rounded(n_digits: int) -> AfterValidator:
    """Return a validator that rounds a number to significant digits."""
    return AfterValidator(lambda value: float(f"{value:.{n_digits}g}"))


Rows = tuple[tuple[float, ...], ...]
"""Row of each judged record, with a column of each label."""


class RunResult(Figures):
    """One arm trained from one seed, and judged on the validation records or on one fold."""

    arm: Name
    seed: int
    fold: int | None = None
    """Fold that the run is judged on. None in a comparison without folds."""
    about: str
    """Description of the arm in the report."""
    group: str = ""
    """Group of arms that are plotted together."""
    is_control: bool = False
    identity: str = ""
    """Digest of the run's settings and data."""
    curve: tuple[Point, ...]
    macro_auroc: float
    """Macro AUROC of the kept model."""
    stress: dict[str, float] = Field(default_factory=dict)
    """Macro AUROC of the kept model, by perturbation."""
    reconstruction: dict[str, float] = Field(default_factory=dict)
    """Reconstruction figures of the kept model, by name with unit."""
    diagnostics: dict[str, float] = Field(default_factory=dict)
    """Means over the run."""
    curvature: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Curvature figures at the start, middle and end of the last stage that measured them."""
    mean_weights: dict[str, float] = Field(default_factory=dict)
    """Mean weight of each task over the run."""
    tuning: tuple[Tried, ...] = ()
    probabilities: tuple[tuple[Annotated[float, rounded(5)], ...], ...] = ()
    """Probabilities of the kept model: a row for each judged record, a column for each label. Absent with folds."""
    logits: tuple[tuple[Annotated[float, rounded(7)], ...], ...] = ()
    """Logits of the kept model on the records of its fold, in the order of the truth. Absent without folds."""

    @field_validator("curve")
    @classmethod
    def refuse_nothing(cls, curve: tuple[Point, ...]) -> tuple[Point, ...]:
        if not curve:
            raise ValueError("should have at least one point")
        return curve

    @field_validator("probabilities", "logits")
    @classmethod
    def refuse_ragged(cls, rows: Rows) -> Rows:
        if len({len(row) for row in rows}) > 1:
            raise ValueError("should have as many columns in every row")
        return rows

    @field_validator("probabilities")
    @classmethod
    def refuse_others(cls, rows: Rows) -> Rows:
        if not all(0 <= p <= 1 for row in rows for p in row):
            raise ValueError("should be numbers from 0 to 1")
        return rows

    @field_validator("logits")
    @classmethod
    def refuse_infinite(cls, rows: Rows) -> Rows:
        if not all(isfinite(value) for row in rows for value in row):
            raise ValueError("should be finite numbers")
        return rows

    @field_validator("probabilities", "logits", mode="before")
    @classmethod
    def take_arrays(cls, value: Any) -> Any:
        return value.tolist() if isinstance(value, np.ndarray) else value

    @model_validator(mode="after")
    def has_one_of_both(self) -> "RunResult":
        if bool(self.probabilities) == bool(self.logits):
            raise ValueError("should have either probabilities or logits")
        return self

    @property
    def scores(self) -> Float64[np.ndarray, "record label"]:
        """Logits or probabilities, which rank the records of one run in the same way."""
        return np.array(self.logits or self.probabilities, dtype=np.float64)

    @property
    def cell(self) -> Cell:
        """Key of the run among those of its arm."""
        return self.seed if self.fold is None else (self.fold, self.seed)


class Course(NamedTuple):
    """Curves of a run against one clock, with nan before the main task is learned."""

    times: Float64[np.ndarray, " evaluation"]
    scores: Float64[np.ndarray, " evaluation"]
    losses: Float64[np.ndarray, " evaluation"]
    train_losses: Float64[np.ndarray, " evaluation"]


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
        """Name of the arm that learns as the reference does, with the compute of an auxiliary task."""
        return self.claims.equal_compute

    @property
    def others(self) -> list[str]:
        """Names of all arms but the reference."""
        return [arm for arm in self.arms if arm != self.reference]

    def about(self, arm: str) -> RunResult:
        """Return any run of the arm. Its description of the arm is the same in all."""
        return next(iter(self.arms[arm].values()))

    @property
    def folds(self) -> tuple[int, ...]:
        """Folds that runs are judged on, in rising order, or none."""
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


def result_path(folder: Path, arm: str, seed: int, fold: int | None = None) -> Path:
    """Return the path of a run's result in a comparison folder."""
    return folder / RESULTS / (f"{arm}.{seed}.json" if fold is None else f"{arm}.fold{fold}.{seed}.json")


def write_result(path: Path, result: RunResult) -> None:
    """Write a result atomically, and create its folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    absent = {name for name in ("fold", "probabilities", "logits") if getattr(result, name) in (None, ())}
    write_text(path, result.model_dump_json(exclude=absent))


def read_result(path: Path) -> RunResult:
    """Read the result of one run.

    Raises:
        ComparisonError: the file holds no result.
    """
    try:
        return RunResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ComparisonError(f"{path}: no result of a run ({reason(error)}); delete it to run it again.") from error


def reason(error: OSError | ValidationError) -> str:
    """Return why a file could not be read or parsed."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


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
            raise ComparisonError(f"{path}: judged on {kinds[0]}, but {TRUTH} has {kinds[1]}; run it again.")
        labels = truth.of_fold(run.fold).labels
        if run.scores.shape != labels.shape:
            shape, expected = " × ".join(map(str, run.scores.shape)), " × ".join(map(str, labels.shape))
            raise ComparisonError(f"{path}: {shape} probabilities, but {TRUTH} has {expected} labels; run it again.")
        runs.append(run)
    if not any(run.arm == claims.reference for run in runs):
        names = ", ".join(sorted({run.arm for run in runs})) or "no run at all"
        raise ComparisonError(
            f"{folder}: no run of arm '{claims.reference}', which others are compared with; found {names}."
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


def course(run: RunResult, clock: Clock = "samples_seen", *, amortized: bool = False) -> Course:
    """Return the run's curves, which start at the end of pretraining if `amortized`.

    Stages that do not learn the main task, such as one that trains only the decoder, repeat its last figures.
    """
    start = pretraining(run)
    points = run.curve[start:] if amortized else run.curve
    begin = float(getattr(run.curve[start - 1], clock)) if amortized and start else 0.0
    times, *figures = (column(points, name) for name in (clock, "macro_auroc", "loss", "train_loss"))
    return Course(times - begin, *figures)


def column(points: Sequence[Point], name: str) -> Float64[np.ndarray, " evaluation"]:
    """Return one figure of each point. Where a point lacks it, the last one before stands in."""
    values = np.array([getattr(point, name) for point in points], dtype=np.float64)
    last_known = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    return values[last_known]


def pretraining(run: RunResult) -> int:
    """Return the number of evaluations before the main task's first, or 0 if it is never learned."""
    learned = [index for index, point in enumerate(run.curve) if point.macro_auroc is not None]
    return learned[0] if learned else 0


def budget(comparison: Comparison, clock: Clock = "samples_seen") -> float:
    """Return how long the reference arm was trained. All curves and times are compared up to there."""
    return float(np.mean([getattr(run.curve[-1], clock) for run in comparison.arms[comparison.reference].values()]))
