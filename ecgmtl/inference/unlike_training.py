"""The finding that a record is unlike the training records, so that the model's probabilities mean little."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from data_prep.quality import Finding, Severity
from ecgmtl.metrics.typicality import CAUSES, Typicality


class Unlikeness(NamedTuple):
    """Dissimilarity of a record from the training records."""

    score: float | None
    """Score: above 1, the record is unlike them. None for a model that cannot detect it."""
    findings: tuple[Finding, ...] = ()


def check_typicality(
    typicality: Typicality | None, signals: Float32[np.ndarray, "record lead time"]
) -> list[Unlikeness]:
    """Return how unlike the training records each record is. Signals are in mV, as the model reads them."""
    if typicality is None:
        return [Unlikeness(None)] * len(signals)
    scores = typicality.scores(signals)
    return [
        Unlikeness(score, (unlike_training(score, part),) if score > 1 else ())
        for score, part in zip(scores.values.tolist(), scores.parts, strict=True)
    ]


def unlike_training(score: float, part: str) -> Finding:
    """Return the finding on a record whose score is above 1."""
    sentence = (
        f"unlike the training records in {CAUSES[part]} The score is {score:.2g}; about 1 % of ordinary records are "
        f"above 1."
    )
    return Finding("unlike-training", sentence, Severity.NO_DECISION, value=score)
