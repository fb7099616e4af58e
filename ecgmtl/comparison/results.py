"""Result of one run of a comparison: its fields, and its file."""

import re
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float64
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from data_prep.files import write_text
from ecgmtl.comparison.truth import ComparisonError
from ecgmtl.settings import Name, Settings

RESULTS = "results"
"""Folder of the results in that of a comparison."""
Cell = int | tuple[int, int]
"""Seed of a run, or its fold and seed. Runs of two arms with the same cell are paired."""
Clock = Literal["step", "samples_seen", "encoder_passes", "seconds"]
"""Count of a point, against which curves are plotted."""


class ResultFields(Settings):
    """Fields of a result. A figure that is not defined is nan."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="strings")


class Point(ResultFields):
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


class Tried(ResultFields):
    """One configuration that tuning tried for an arm."""

    settings: dict[str, Any]
    score: float
    """Validation macro AUROC."""


def rounded(n_digits: int) -> AfterValidator:
    """Return a validator that rounds a number to significant digits."""
    return AfterValidator(lambda value: float(f"{value:.{n_digits}g}"))


Rows = tuple[tuple[float, ...], ...]
"""A row for each evaluated record, with a column for each label."""


class RunResult(ResultFields):
    """One arm trained from one seed, and evaluated on the validation records or on one fold."""

    arm: Name
    seed: int
    fold: int | None = None
    """Fold that the run is evaluated on. None in a comparison without folds."""
    about: str
    """Description of the arm in the report."""
    group: str = ""
    """Group of arms that are plotted together."""
    is_control: bool = False
    identity: str = ""
    """Digest of the run's settings and data."""
    made_with: str = ""
    """Code, packages, precision and device that the run was trained with. Empty in results of earlier versions."""
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
    """Probabilities of the kept model: a row for each evaluated record, a column for each label. Absent with folds."""
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
            raise ValueError("should have the same number of columns in every row")
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


def result_path(folder: Path, arm: str, seed: int, fold: int | None = None) -> Path:
    """Return the path of a run's result in a comparison folder."""
    return folder / RESULTS / (f"{arm}.{seed}.json" if fold is None else f"{arm}.fold{fold}.{seed}.json")


def has_results(folder: Path, arm: str) -> bool:
    """Return whether a comparison folder has results of an arm, by their names. The files are not read."""
    name = re.compile(rf"{re.escape(arm)}\.(fold\d+\.)?\d+\.json")
    return any(name.fullmatch(path.name) for path in (folder / RESULTS).glob("*.json"))


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
        raise ComparisonError(
            f"{path}: should hold the result of a run ({reason(error)}); delete it to run it again."
        ) from error


def reason(error: OSError | ValidationError) -> str:
    """Return why a file could not be read or parsed."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
