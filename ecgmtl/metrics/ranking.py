"""Ranking metrics: AUROC and average precision of each label, also for many sets of record weights at once.

A label without positives or negatives has neither metric: it is nan, and left out of means over labels. scikit-learn's
`roc_auc_score` and `average_precision_score` sort again for every set of weights, which a bootstrap has a thousand of
(tests compare the values with theirs).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Shaped

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class Ranked(NamedTuple):
    """Two metrics, with a row for each set of weights and a column for each label."""

    auroc: Float64[np.ndarray, "weighting label"]
    auprc: Float64[np.ndarray, "weighting label"]


class Curve(NamedTuple):
    """Points of a curve."""

    x: Float64[np.ndarray, " point"]
    y: Float64[np.ndarray, " point"]


@dataclass(frozen=True)
class Ranking:
    """One label's records in falling order of score, in segments whose sums of weights determine both metrics.

    For each score of a positive there are three segments: negatives above it, positives at it, negatives at it. A last
    one holds the remaining negatives. A row of `segments` sums the weights of one segment.
    """

    segments: "csr_array"

    @classmethod
    def of(cls, scores: Float[np.ndarray, " record"], truth: Bool[np.ndarray, " record"]) -> "Ranking":
        """Sort the records of one label."""
        from scipy.sparse import csr_array  # the modules of a checkpoint do without SciPy

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
        """Compute AUROC and average precision for each column of weights; nan where a class has no weight."""
        sums = (self.segments @ weights).astype(np.float64)
        above, positive, tied = sums[0:-1:3], sums[1::3], sums[2::3]
        n_positive = positive.sum(axis=0)
        n_negative = sums.sum(axis=0) - n_positive
        true_positives = positive.cumsum(axis=0)  # of all records with at least this score
        false_positives = above.cumsum(axis=0) + tied.cumsum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            auroc = 1 - (positive * (false_positives - tied / 2)).sum(axis=0) / (n_positive * n_negative)
            precision = np.where(positive > 0, true_positives / (true_positives + false_positives), 0.0)
            auprc = (positive * precision).sum(axis=0) / n_positive
        return auroc, np.where(n_negative > 0, auprc, np.nan)


def rank_labels(
    scores: Float[np.ndarray, "record label"], labels: Shaped[np.ndarray, "record label"]
) -> list[Ranking | None]:
    """Return the ranking of each label; None for one with a score that is not a number."""
    truth = labels > 0
    columns = zip(scores.T, truth.T, strict=True)
    return [None if np.isnan(column).any() else Ranking.of(column, true) for column, true in columns]


def weigh(rankings: list[Ranking | None], weights: Float[np.ndarray, "record weighting"]) -> Ranked:
    """Compute both metrics of every label for each column of weights."""
    undefined = np.full((2, weights.shape[1]), np.nan)
    figures = [undefined if ranking is None else np.stack(ranking.figures(weights)) for ranking in rankings]
    auroc, auprc = np.stack(figures, axis=-1)
    return Ranked(auroc, auprc)


def rank_figures(
    scores: Float[np.ndarray, "record label"], labels: Shaped[np.ndarray, "record label"]
) -> tuple[Float64[np.ndarray, " label"], Float64[np.ndarray, " label"]]:
    """Compute AUROC (a tie counts one half) and average precision of each label.

    Average precision is the sum over falling thresholds of precision times the step in recall, without interpolation.
    """
    ranked = weigh(rank_labels(scores, labels), np.ones((len(scores), 1)))
    return ranked.auroc[0], ranked.auprc[0]


def auroc(
    scores: Float[np.ndarray, "record label"], labels: Shaped[np.ndarray, "record label"]
) -> Float64[np.ndarray, " label"]:
    """Compute the AUROC of each label."""
    return rank_figures(scores, labels)[0]


def macro_auroc(scores: Float[np.ndarray, "record label"], labels: Shaped[np.ndarray, "record label"]) -> float:
    """Compute the mean AUROC over labels with positives and negatives; nan without any, or if a score is nan."""
    defined = has_both(labels)
    return float(auroc(scores, labels)[defined].mean()) if defined.any() else float("nan")


def has_both(labels: Shaped[np.ndarray, "record label"]) -> Bool[np.ndarray, " label"]:
    """Return which labels have positives and negatives."""
    truth = labels > 0
    return np.asarray(truth.any(axis=0) & ~truth.all(axis=0))


def mean_defined(values: Float[np.ndarray, "*rest label"]) -> Float64[np.ndarray, "*rest"]:
    """Compute the mean over labels that are not nan; nan where all are. `np.nanmean` warns there."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, values, 0.0).sum(axis=-1) / defined.sum(axis=-1), dtype=np.float64)


def confusions(
    scores: Float[np.ndarray, " record"], truth: Bool[np.ndarray, " record"]
) -> tuple[Int64[np.ndarray, " threshold"], Int64[np.ndarray, " threshold"]]:
    """Count true and false positives from each distinct score on, in falling order of score."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf) != 0)
    true_positives = np.cumsum(truth[order])[last]
    return true_positives, last + 1 - true_positives


def roc_curve(scores: Float[np.ndarray, " record"], truth: Bool[np.ndarray, " record"]) -> Curve:
    """Compute false positive rate and sensitivity, from (0, 0) to (1, 1). Both classes must be present."""
    true_positives, false_positives = confusions(scores, truth)
    return Curve(
        np.append(0.0, false_positives / false_positives[-1]), np.append(0.0, true_positives / true_positives[-1])
    )


def precision_recall_curve(scores: Float[np.ndarray, " record"], truth: Bool[np.ndarray, " record"]) -> Curve:
    """Compute recall and precision by falling threshold. Positives must be present."""
    true_positives, false_positives = confusions(scores, truth)
    return Curve(true_positives / true_positives[-1], true_positives / (true_positives + false_positives))
