"""Truth of a comparison: labels and patients of the records on which runs are evaluated.

These are the validation records or, over folds, the records of all folds. Each run is then evaluated on one fold.
"""

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
    """Labels and patients of the evaluated records."""

    labels: Bool[np.ndarray, "record label"]
    patients: Int64[np.ndarray, " record"]
    label_names: tuple[str, ...]
    folds: Int64[np.ndarray, " record"] | None = None
    """Fold of each record. None where every run is evaluated on all records."""
    names: tuple[str, ...] = ()
    """Name of each record in the prepared folder, where there are folds."""

    def of_fold(self, fold: int | None) -> "Truth":
        """Return the records of one fold, in the order of the prepared folder, or all where `fold` is None."""
        if self.folds is None or fold is None:
            return self
        rows = np.flatnonzero(self.folds == fold)
        names = tuple(self.names[row] for row in rows)
        return Truth(self.labels[rows], self.patients[rows], self.label_names, self.folds[rows], names)


def write_truth(folder: Path, truth: Truth) -> None:
    """Write the truth into a folder, which is created if necessary."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"labels": truth.labels, "patients": truth.patients, "label_names": np.array(truth.label_names)}
    if truth.folds is not None:
        arrays |= {"folds": truth.folds, "names": np.array(truth.names)}

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
            label_names = tuple(str(name) for name in stored["label_names"])
            folds = (stored["folds"], tuple(map(str, stored["names"]))) if "folds" in stored else ()
            return Truth(stored["labels"], stored["patients"], label_names, *folds)
    except Exception as error:  # NumPy and zipfile raise errors of many kinds for damaged files
        raise ComparisonError(f"{path}: damaged ({error}); delete it, and `ecgmtl compare` writes it again.") from error


def is_same(truth: Truth, other: Truth) -> bool:
    """Return whether two truths are equal."""
    if (truth.folds is None) != (other.folds is None):
        return False
    if truth.folds is not None and other.folds is not None and not np.array_equal(truth.folds, other.folds):
        return False
    arrays = ((truth.labels, other.labels), (truth.patients, other.patients))
    names = (truth.label_names, truth.names) == (other.label_names, other.names)
    return names and all(np.array_equal(*pair) for pair in arrays)
