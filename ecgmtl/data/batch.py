"""A batch of ECGs as one training step sees it."""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor


class Batch(NamedTuple):
    signals: Float[Tensor, "batch lead time"]
    """mV; what the reconstruction is compared with."""
    labels: Float[Tensor, "batch label"]
    auxiliary_labels: dict[str, Float[Tensor, "batch _"]] = {}  # noqa: RUF012  (nobody writes to it)
    """By further label set."""
    targets: dict[str, Float[Tensor, "batch _"]] = {}  # noqa: RUF012  (nobody writes to it)
    """By task, what is learnt from a column of the record table; NaN where a record has no value."""
    input: Float[Tensor, "batch lead time"] | None = None
    """mV; what the encoder reads where that is not the signals themselves: with noise added, with leads dropped."""
    mask: Bool[Tensor, "batch basis time"] | None = None
    """What the encoder must not see; None where a batch is seen whole."""
    scored: Float[Tensor, "batch basis time"] | None = None
    """How much each sample counts in the reconstruction loss."""
    teacher_features: Float[Tensor, "batch feature frame"] | None = None
    """The teacher's features, where latent prediction is learnt."""
    soft_labels: Float[Tensor, "batch label"] | None = None
    """The teachers' probabilities, where they are learnt."""

    @property
    def encoder_input(self) -> Float[Tensor, "batch lead time"]:
        """mV; what the encoder reads of it, before anything is hidden."""
        return self.signals if self.input is None else self.input
