"""The report's words: which of the 100 most frequent words of the training reports a record's report contains."""

import math
from collections import Counter
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ecgmtl.data.split import Split
from ecgmtl.metrics.ranking import auroc, has_both
from ecgmtl.tasks.base import Likelihood, LossInput, Targets
from ecgmtl.tasks.columns import ElementTask

N_WORDS = 100
"""Number of words to predict. In PTB-XL, the reports of some three patients in a hundred have the rarest of them."""


class Report(ElementTask):
    """Binary cross-entropy of each word; records without a report are left out.

    The words are targets only. Neither the model nor its checkpoint holds them, and no report is read in prediction.
    """

    part: ClassVar[str] = "report"
    likelihood: ClassVar[Likelihood] = "bernoulli"
    column: ClassVar[str | None] = "report_words"
    n_outputs: ClassVar[int] = N_WORDS

    def encode(self, train: Split, validation: Split) -> Targets:
        words = frequent_words(self.values(train), train.patients)
        first, second = (torch.from_numpy(occurrences(self.values(split), words)) for split in (train, validation))
        return first, second

    def error(self, output: Float[Tensor, " present"], target: Float[Tensor, " present"]) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, target, reduction="none")

    def untrained(self, batch_size: int) -> float:  # noqa: ARG002
        """Return log 2: the head starts without a preference."""
        return math.log(2)

    def answers(self, inputs: LossInput) -> tuple[Tensor, Tensor] | None:
        return inputs.outputs[self.name], inputs.batch.targets[self.name]

    def figures(self, means: dict[str, float], answers: tuple[np.ndarray, np.ndarray] | None) -> dict[str, float]:
        """Add the mean AUROC over the words that some validation reports contain and others do not."""
        figures = super().figures(means, answers)
        if answers is None:
            return figures
        output, target = answers
        known = np.isfinite(target).any(axis=1)
        output, truth = output[known], target[known] > 0
        both = has_both(truth)
        return {**figures, "report_macro_auroc": float(auroc(output, truth)[both].mean())} if both.any() else figures


def frequent_words(cells: np.ndarray, patients: np.ndarray) -> list[str]:
    """Return the words that the reports of most patients contain, at most 100, the most frequent first."""
    pairs = {(patient, word) for cell, patient in zip(cells, patients, strict=True) for word in words_of(cell)}
    n_patients = Counter(word for _, word in pairs)
    return sorted(n_patients, key=lambda word: (-n_patients[word], word))[:N_WORDS]


def occurrences(cells: np.ndarray, words: list[str]) -> Float[np.ndarray, "record 100"]:
    """Return 1 for each word of a record's report and 0 for the other words.

    A record without a report has NaN throughout, and so have columns beyond the last word.
    """
    rows = np.full((len(cells), N_WORDS), np.nan, dtype=np.float32)
    for row, cell in zip(rows, cells, strict=True):
        if held := words_of(cell):
            row[: len(words)] = np.isin(words, held)
    return rows


def words_of(cell: Any) -> list[str]:
    """Return the words of a report: none if it is absent."""
    from data_prep.sources.tables import SEPARATOR  # its module needs pandas, which predictions do without

    return cell.split(SEPARATOR) if isinstance(cell, str) and cell else []
