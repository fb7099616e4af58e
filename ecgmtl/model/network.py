"""The multi-task network: a shared encoder, and one head for each task."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from data_prep.leads import BASIS_INDEX
from ecgmtl.data.lead_algebra import (
    DERIVED_INDEX,
    N_BASIS,
    N_LEADS,
    algebra,
    extend_mask,
    extend_scores,
    index_tensor,
)
from ecgmtl.model.forest.forest import Forest
from ecgmtl.model.heads import Decoder, Reconstructed, pool
from ecgmtl.model.imputation import impute
from ecgmtl.model.normalization import set_view
from ecgmtl.model.sharing import Sharing

RECONSTRUCTION = "reconstruction"
MAIN = "classification"
"""The task that a run is evaluated by. Every other task is auxiliary."""

N_INPUTS = N_LEADS + N_BASIS
"""Most rows that an encoder reads: 12 leads in standardized units, then a mask for each of the 8 independent leads."""


class Standardize(nn.Module):
    """Conversion from mV to units of each lead's mean and standard deviation over the training split, and back."""

    mean: Tensor
    std: Tensor

    def __init__(self, leads: list[int]) -> None:
        super().__init__()
        self.leads = tuple(leads)
        self.register_buffer("mean", torch.zeros(N_LEADS, 1))
        self.register_buffer("std", torch.ones(N_LEADS, 1))

    def forward(self, signals: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch lead time"]:
        return (signals - self.mean) / self.std

    def basis(self, signals: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch row time"]:
        """Standardize signals in mV and return the leads that are reconstructed: the 8 independent ones, or all."""
        return self(signals)[:, self.index]

    def to_mv(self, reconstructed: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch row time"]:
        """Convert reconstructed leads from standardized units to mV."""
        return reconstructed * self.std[self.index] + self.mean[self.index]

    @property
    def index(self) -> Tensor:
        """Indices of the reconstructed leads."""
        return index_tensor(self.leads, self.mean.device)


class MultiTaskModel(nn.Module):
    """One or more encoders, and a head for each task, by name. The sharing decides which features a head reads.

    The heads `reconstruction` and `classification` are always there. The forest is grown after the network is trained,
    so only a finished model has one.
    """

    lead_algebra: Tensor

    def __init__(self, encoder: Sharing, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.reconstructs_all = cast("Decoder", heads[RECONSTRUCTION]).n_leads == N_LEADS
        self.standardize = Standardize(list(range(N_LEADS)) if self.reconstructs_all else BASIS_INDEX)
        self.encoder = encoder
        self.heads = nn.ModuleDict(heads)
        self.forest: Forest | None = None
        self.register_buffer("lead_algebra", algebra(), persistent=False)

    def forward(
        self,
        signals: Float[Tensor, "batch lead time"],
        mask: Bool[Tensor, "batch basis time"] | None = None,
        tasks: Collection[str] = (RECONSTRUCTION, MAIN),
        flow: Mapping[str, float] | None = None,
        masked_view: bool = False,
    ) -> dict[str, Any]:
        """Return the output of each task's head for signals in mV. Masked samples never reach the encoder.

        tasks: names of the heads to compute; the others cost nothing.
        flow: fraction of a head's gradient that reaches the encoder, by task; 1 for tasks that are not named.
        masked_view: True where the pass is the masked view of two, whatever heads it computes. Otherwise it is taken
            for one if masked samples are to be filled in. A record that lacks leads, which a mask tells the
            classifier, is not.
        """
        rows = mark(self.standardize(signals), mask)
        asked = tuple(name for name in self.heads if name in tasks)
        set_view(self.encoder, masked=mask is not None and (masked_view or self.fills_in(asked)))
        read = self.encoder(rows, asked) if asked else {}
        features = {name: let_through(read[name], (flow or {}).get(name, 1.0)) for name in asked}
        pooled = pool_each({name: features[name] for name in asked if is_pooled(self.heads[name])})
        outputs: dict[str, Any] = {}
        for name in asked:
            output = self.heads[name](pooled[name] if name in pooled else features[name])
            outputs[name] = output.first(signals.shape[-1]) if isinstance(output, Reconstructed) else output.float()
        if self.forest is not None and MAIN in outputs:
            outputs[MAIN] = outputs[MAIN] + self.forest(signals, mask)
        return outputs

    def fills_in(self, asked: Iterable[str]) -> bool:
        """Return whether a head fills in what is masked, in mV or in features."""
        return any(getattr(self.heads[name], "fills_in", False) for name in asked)

    def classify(self, signals: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch label"]:
        """Return the logits of unmasked signals, in mV, without running the decoder."""
        features = self.features(signals, MAIN, self.encoder)
        return read_labels(self.heads[MAIN], self.forest, pool(features), signals)

    def features(
        self, signals: Float[Tensor, "batch lead time"], task: str, encoder: nn.Module
    ) -> Float[Tensor, "batch feature frame"]:
        """Return the features that a task reads of unmasked signals, in mV.

        encoder: this model's encoder, or another one of the same kind.
        """
        set_view(encoder, masked=False)
        return encoder(mark(self.standardize(signals), None), (task,))[task]

    def reconstruct(
        self, signals: Float[Tensor, "batch lead time"], mask: Bool[Tensor, "batch basis time"]
    ) -> Float[Tensor, "batch lead time"]:
        """Return all 12 leads in mV, with masked samples reconstructed by the decoder and the other leads.

        Where the decoder gives the 8 independent leads, a derived one follows from them, and so from the visible
        samples of I or II.
        """
        row_mask = extend_mask(mask) if self.reconstructs_all else mask
        decoded = self(signals, mask, (RECONSTRUCTION,))[RECONSTRUCTION].mean
        composed = torch.where(row_mask, decoded, self.standardize.basis(signals))
        imputed = self.standardize.to_mv(impute(composed, row_mask))
        complete = torch.where(row_mask, imputed, signals[:, self.standardize.index])
        return complete if self.reconstructs_all else self.lead_algebra @ complete

    def scored(self, scored: Float[Tensor, "batch basis time"]) -> Float[Tensor, "batch row time"]:
        """Return the weight of each reconstructed sample, from the weights of the 8 independent leads."""
        return extend_scores(scored) if self.reconstructs_all else scored

    def violation(self, reconstructed: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch derived time"]:
        """Compute how far III, aVR, aVL and aVF, of 12 standardized leads, are from what follows from I and II.

        In units of the derived lead's standard deviation.
        """
        signals = self.standardize.to_mv(reconstructed)
        basis, derived = (index_tensor(tuple(index), signals.device) for index in (BASIS_INDEX, DERIVED_INDEX))
        error = (signals - self.lead_algebra @ signals[:, basis])[:, derived]
        return error / self.standardize.std[derived]


def is_pooled(head: nn.Module) -> bool:
    """Return whether a head reads features that are pooled over time."""
    return bool(getattr(head, "reads_pooled", False))


def pool_each(features: Mapping[str, Float[Tensor, "batch _ _"]]) -> dict[str, Float[Tensor, "batch _"]]:
    """Pool the features of each task, by task.

    In a compiled model, features that several tasks read are pooled once: for one maximum that is stored twice in
    bf16, torch 2.13 generates C++ that does not compile.
    """
    pooled: dict[str, Tensor] = {}
    for task in features:
        same = [other for other in pooled if torch.compiler.is_compiling() and features[other] is features[task]]
        pooled[task] = pooled[same[0]] if same else pool(features[task])
    return pooled


def read_labels(
    classifier: nn.Module,
    forest: Forest | None,
    pooled: Float[Tensor, "batch _"],
    signals: Float[Tensor, "batch lead time"],
) -> Float[Tensor, "batch label"]:
    """Compute the classifier's logits of unmasked signals, in mV, plus the forest's where there is one."""
    logits = classifier(pooled).float()
    return logits if forest is None else logits + forest(signals)


def mark(
    standardized: Float[Tensor, "batch lead time"], mask: Bool[Tensor, "batch basis time"] | None
) -> Float[Tensor, "batch row time"]:
    """Return the rows that an encoder reads: 12 leads, 0 where masked, and the mask itself as 8 further rows.

    The mask tells a masked sample from a flat one. Without a mask the 8 rows would be 0 and are left out, which saves
    two fifths of the first convolution. See `Encoder` for what that asks of an encoder.
    """
    if mask is None:
        return standardized
    return torch.cat([standardized.masked_fill(extend_mask(mask), 0.0), mask.to(standardized.dtype)], dim=1)


def let_through(features: Float[Tensor, "batch feature frame"], share: float) -> Float[Tensor, "batch feature frame"]:
    """Return the same features, exactly, with this fraction of their gradient."""
    if share == 1:
        return features
    fixed = features.detach()
    return fixed + share * (features - fixed) if share else fixed
