"""A batch of ECGs as one training step sees it."""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor


class Batch(NamedTuple):
    """Records of one step, with everything that a loss may read of them."""

    signals: Float[Tensor, "batch lead time"]
    """Clean signals in mV: the target of the reconstruction."""
    labels: Float[Tensor, "batch label"]
    auxiliary_labels: dict[str, Float[Tensor, "batch _"]] = {}  # noqa: RUF012  (nobody writes to it)
    """Labels by further label set."""
    targets: dict[str, Float[Tensor, "batch _"]] = {}  # noqa: RUF012  (nobody writes to it)
    """Targets by task, of tasks that learn neither signals nor labels; NaN where a record has no value."""
    input: Float[Tensor, "batch lead time"] | None = None
    """Augmented signals in mV, with noise or without some leads; None where the encoder reads `signals`."""
    mask: Bool[Tensor, "batch basis time"] | None = None
    """True where a sample is masked, over the 8 independent leads; None for an unmasked batch."""
    scored: Float[Tensor, "batch basis time"] | None = None
    """Weight of each sample in the reconstruction loss."""
    teacher_features: Float[Tensor, "batch feature frame"] | None = None
    """Features from the encoder with EMA weights, for latent prediction."""
    soft_labels: Float[Tensor, "batch label"] | None = None
    """Mean probabilities of the teachers, for distillation."""
    clean: "Batch | None" = None
    """The unmasked view where a task reads it, as long as this one: of the same records, or of labeled ones."""

    @property
    def encoder_input(self) -> Float[Tensor, "batch lead time"]:
        """Input of the encoder before masking, in mV."""
        return self.signals if self.input is None else self.input
