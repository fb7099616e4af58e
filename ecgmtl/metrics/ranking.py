"""How well scores rank records: AUROC and average precision, label by label, also with a weight a record.

A label that lacks positives or negatives has neither figure: it is nan, and left out of means over labels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from scipy.sparse import csr_array


class Ranked(NamedTuple):
    """Two figures, a row a set of weights, a column a label."""

    auroc: Float64[np.ndarray, "weighting label"]
    auprc: Float64[np.ndarray, "weighting label"]


class Curve(NamedTuple):
    """Points of a line."""

    x: Float64[np.ndarray, " point"]
    y: Float64[np.ndarray, " point"]


@dataclass(frozen=True)
class Ranking:
    """One label's records in falling order of score, cut so that the weights between the cuts give both figures.

    For each score that a positive has there are three segments: negatives above it, positives at it, negatives at it;
    one more holds the negatives below the last. A row of `segments` sums the weights of one of them.
    """

    segments: csr_array

    @classmethod
    def of(cls, scores: Float[np.ndarray, " record"], truth: Bool[np.ndarray, " record"]) -> "Ranking":
        order = np.lexsort((~truth, -scores))  # among equal scores positives first
        is_new = np.diff(scores[order], prepend=np.inf) != 0
        start, tie = np.flatnonzero(is_new), np.cumsum(is_new) - 1
        end = np.append(start[1:], len(order))
        n_positive = np.bincount(tie, weights=truth[order], minlength=len(start)).astype(np.int64)
        held = n_positive > 0
        cuts = np.stack([start, start + n_positive, end], axis=1)[held].ravel()
        edges = np.concatenate([[0], cuts, [len(order)]])
        shape = (len(edges) - 1, len(order))
        return cls(csr_array((np.ones(len(order), np.float32), order, edges), shape=shape))

    def figures(
        self, weights: Float[np.ndarray, "record weighting"]
    ) -> tuple[Float64[np.ndarray, " weighting"], Float64[np.ndarray, " weighting"]]:
        """AUROC and average precision under each column of weights; nan where positives or negatives have none."""
        sums = (self.segments @ weights).astype(np.float64)
        above, positive, tied = sums[0:-1:3], sums[1::3], sums[2::3]
        n_positive = positive.sum(axis=0)
        n_negative = sums.sum(axis=0) - n_positive
        found = positive.cumsum(axis=0)  # true positives, of all records with at least this score
        alarms = above.cumsum(axis=0) + tied.cumsum(axis=0)  # false positives among them
        with np.errstate(divide="ignore", invalid="ignore"):
            auroc = 1 - (positive * (alarms - tied / 2)).sum(axis=0) / (n_positive * n_negative)
            precision = np.where(positive > 0, found / (found + alarms), 0.0)
            auprc = (positive * precision).sum(axis=0) / n_positive
        return auroc, np.where(n_negative > 0, auprc, np.nan)


def rank_labels(
    scores: Float[np.ndarray, "record label"], labels: Shaped[np.ndarray, "record label"]
) -> list[Ranking | None]:
    """The ranking of each label; None for one with a score that is not a number."""
    truth = labels > 0
    columns = zip(scores.T, truth.T, strict=True)
    return [None if np.isnan(column).any() else Ranking.of(column, true) for column, true in columns]


def weigh(rankings: list[Ranking | None], weights: Float[np.ndarray, "record weighting"]) -> Ranked:
    """Both figures of every label under each column of weights."""
    undefined = np.full((2, weights.shape[1]), np.nan)
    figures = [undefined if ranking is None else np.stack(ranking.figures(weights)) for ranking in rankings]
    auroc, auprc = np.stack(figures, axis=-1)
    return Ranked(auroc, auprc)


def rank_figures(
    scores: Float[np.ndarray, "record label"], labels: Shaped[np.ndarray, "record label"]
) -> tuple[Float64[np.ndarray, " label"], Float64[np.ndarray, " label"]]:
    """AUROC (half a point for a tie) and average precision of each label.

    Average precision is the sum over falling thresholds of precision times the step in recall, without interpolation.
    """
    ranked = weigh(rank_labels(scores, labels), np.ones((len(scores), 1)))
    return ranked.auroc[0], ranked.auprc[0]


def auroc(
    scores: Float[np.ndarray, "record label"], labels: Shaped[np.ndarray, "record label"]
) -> Float64[np.ndarray, " label"]:
    return rank_figures(scores, labels)[0]


def macro_auroc(scores: Float[np.ndarray, "record label"], labels: Shaped[np.ndarray, "record label"]) -> float:
    """Mean AUROC over the labels that have positives and negatives; nan if none has, or if a score is not a number."""
    defined = has_both(labels)
    return float(auroc(scores, labels)[defined].mean()) if defined.any() else float("nan")


def has_both(labels: Shaped[np.ndarray, "record label"]) -> Bool[np.ndarray, " label"]:
    """Which labels have positives and negatives."""
    truth = labels > 0
    return np.asarray(truth.any(axis=0) & ~truth.all(axis=0))


def mean_defined(values: Float[np.ndarray, "*rest label"]) -> Float64[np.ndarray, "*rest"]:
    """Mean over the labels that are not nan; nan where all are."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, values, 0.0).sum(axis=-1) / defined.sum(axis=-1), dtype=np.float64)


def confusions(
    scores: Float[np.ndarray, " record"], truth: Bool[np.ndarray, " record"]
) -> tuple[Int64[np.ndarray, " threshold"], Int64[np.ndarray, " threshold"]]:
    """True and false positives when records with at least a score are called positive, by falling distinct score."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf) != 0)
    found = np.cumsum(truth[order])[last]
    return found, last + 1 - found


def roc_curve(scores: Float[np.ndarray, " record"], truth: Bool[np.ndarray, " record"]) -> Curve:
    """False positive rate and sensitivity, from (0, 0) to (1, 1); the truth needs positives and negatives."""
    found, alarms = confusions(scores, truth)
    return Curve(np.append(0.0, alarms / alarms[-1]), np.append(0.0, found / found[-1]))


def precision_recall_curve(scores: Float[np.ndarray, " record"], truth: Bool[np.ndarray, " record"]) -> Curve:
    """Recall and precision by falling threshold; the truth needs positives."""
    found, alarms = confusions(scores, truth)
    return Curve(found / found[-1], found / (found + alarms))
