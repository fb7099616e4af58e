"""One shared encoder, one head a task; and what goes in and comes out."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ecgmtl.encoders import Encoder
from ecgmtl.heads import Classifier, Decoder
from ecgmtl.leads import BASIS_INDEX, N_BASIS, N_LEADS, algebra, spread

N_INPUTS = N_LEADS + N_BASIS
"""Rows an encoder sees: 12 leads in standardised units, and for each independent lead where it is hidden."""


class Batch(NamedTuple):
    signals: Float[Tensor, "batch lead time"]
    """mV; what the reconstruction is compared with."""
    labels: Float[Tensor, "batch label"]
    auxiliary_labels: Float[Tensor, "batch auxiliary_label"] | None = None
    seen: Float[Tensor, "batch lead time"] | None = None
    """mV; what the encoder reads where that is not the signals themselves: with noise added, with leads dropped."""
    hidden: Bool[Tensor, "batch basis time"] | None = None
    """What the encoder must not see; None where a batch is seen whole."""
    scored: Float[Tensor, "batch basis time"] | None = None
    """How much each sample counts in the reconstruction loss."""


class Output(NamedTuple):
    """What the tasks asked for; None where a task was left out."""

    reconstruction: Float[Tensor, "batch basis time"] | None = None
    """The 8 independent leads, in standardised units."""
    logits: Float[Tensor, "batch label"] | None = None
    auxiliary_logits: Float[Tensor, "batch auxiliary_label"] | None = None


class Standardise(nn.Module):
    """Takes mV to units of each lead's mean and standard deviation over the training split, and back."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(N_LEADS, 1))
        self.register_buffer("std", torch.ones(N_LEADS, 1))

    def forward(self, signals: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch lead time"]:
        return (signals - self.mean) / self.std

    def basis(self, signals: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch basis time"]:
        """The 8 independent leads of signals in mV, standardised."""
        return self(signals)[:, BASIS_INDEX]

    def to_mv(self, basis: Float[Tensor, "batch basis time"]) -> Float[Tensor, "batch basis time"]:
        return basis * self.std[BASIS_INDEX] + self.mean[BASIS_INDEX]


class MultiTaskModel(nn.Module):
    """Hard sharing: every task reads the same features. Parts are named as in a stage's `trains`."""

    lead_algebra: Tensor

    def __init__(
        self, encoder: Encoder, decoder: Decoder, classifier: Classifier, auxiliary_classifier: Classifier | None = None
    ) -> None:
        super().__init__()
        self.standardise = Standardise()
        self.encoder = encoder
        self.decoder = decoder
        self.classifier = classifier
        self.auxiliary_classifier = auxiliary_classifier
        self.register_buffer("lead_algebra", algebra(), persistent=False)

    def forward(
        self,
        signals: Float[Tensor, "batch lead time"],
        hidden: Bool[Tensor, "batch basis time"] | None = None,
        tasks: tuple[str, ...] = ("reconstruction", "classification"),
    ) -> Output:
        """Signals in mV; what is hidden of them never reaches the encoder. Tasks left out cost nothing."""
        features = self.encode(signals, hidden)
        n_samples = signals.shape[-1]
        reads_auxiliary = self.auxiliary_classifier is not None and "auxiliary_classification" in tasks
        return Output(
            self.decoder(features)[..., :n_samples].float() if "reconstruction" in tasks else None,
            self.classifier(features).float() if "classification" in tasks else None,
            self.auxiliary_classifier(features).float() if reads_auxiliary and self.auxiliary_classifier else None,
        )

    def encode(
        self, signals: Float[Tensor, "batch lead time"], hidden: Bool[Tensor, "batch basis time"] | None = None
    ) -> Float[Tensor, "batch feature frame"]:
        seen = self.standardise(signals)
        if hidden is None:
            marks = seen.new_zeros(seen.shape[0], N_BASIS, seen.shape[-1])
        else:
            seen = seen.masked_fill(spread(hidden), 0.0)
            marks = hidden.to(seen.dtype)
        return self.encoder(torch.cat([seen, marks], dim=1))

    def classify(self, signals: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch label"]:
        """Logits of whole signals, in mV; the decoder is not touched."""
        return self.classifier(self.encode(signals)).float()

    def redraw(
        self, signals: Float[Tensor, "batch lead time"], hidden: Bool[Tensor, "batch basis time"]
    ) -> Float[Tensor, "batch lead time"]:
        """All 12 leads as the decoder draws them, in mV, from what is not hidden; identities of the leads hold."""
        drawn = self.decoder(self.encode(signals, hidden))[..., : signals.shape[-1]].float()
        return self.lead_algebra @ self.standardise.to_mv(drawn)
