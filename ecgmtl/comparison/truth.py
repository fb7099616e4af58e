"""Truth of a comparison: labels and patients of the validation records, on which all runs are evaluated."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from data_prep.errors import UserError
from data_prep.files import write_whole

TRUTH = "truth.npz"


class ComparisonError(UserError):
    """Results that cannot be compared. The message names the file and a remedy."""


class Truth(NamedTuple):
    """Labels and patients of the validation records."""

    labels: Bool[np.ndarray, "record label"]
    patients: Int64[np.ndarray, " record"]
    label_names: tuple[str, ...]


def write_truth(folder: Path, truth: Truth) -> None:
    """Write the truth into a folder, which is created if necessary."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"labels": truth.labels, "patients": truth.patients, "label_names": np.array(truth.label_names)}

    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    write_whole(folder / TRUTH, write)


def read_truth(folder: Path) -> Truth:
    """Read the truth of a folder.

    Raises:
        ComparisonError: the folder has no truth, or it is damaged.
    """
    path = folder / TRUTH
    if not path.is_file():
        raise ComparisonError(f"{folder} holds no comparison: there is no {TRUTH}. `ecgmtl compare` creates one.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            names = tuple(str(name) for name in stored["label_names"])
            return Truth(stored["labels"], stored["patients"], names)
    except Exception as error:  # NumPy and zipfile raise errors of many kinds for damaged files
        raise ComparisonError(f"{path}: damaged ({error}); delete it, and `ecgmtl compare` writes it again.") from error


def is_same(truth: Truth, other: Truth) -> bool:
    """Return whether two truths are equal."""
    arrays = ((truth.labels, other.labels), (truth.patients, other.patients))
    return truth.label_names == other.label_names and all(np.array_equal(*pair) for pair in arrays)
