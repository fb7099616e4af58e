"""What a loss may look at."""

from typing import NamedTuple

from ecgmtl.data.batch import Batch
from ecgmtl.model.network import MultiTaskModel, Output


class Seen(NamedTuple):
    """All that a loss may depend on, beside its settings."""

    model: MultiTaskModel
    output: Output
    batch: Batch
    progress: float
    """The share of the stage's steps that is done."""
