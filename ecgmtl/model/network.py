"""A shared encoder, one head a task; and what goes in and comes out."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ecgmtl.data.lead_algebra import (
    BASIS_INDEX,
    DERIVED_INDEX,
    N_BASIS,
    N_LEADS,
    algebra,
    places,
    spread,
    spread_scores,
)
from ecgmtl.model.forest.forest import Forest
from ecgmtl.model.heads import Classifier, Decoder, Drawing, Predictor, Projector, pool
from ecgmtl.model.imputation import draw_by_leads
from ecgmtl.model.sharing import JUDGES, Sharing

N_INPUTS = N_LEADS + N_BASIS
"""Rows an encoder sees at most: 12 leads in standardized units, and for each independent lead where it is hidden."""


class Output(NamedTuple):
    """What the tasks asked for; None, or not among the label sets, where a task was left out."""

    reconstruction: Float[Tensor, "batch drawn time"] | None = None
    """The leads that the decoder draws, in standardized units."""
    logits: Float[Tensor, "batch label"] | None = None
    auxiliary_logits: dict[str, Float[Tensor, "batch _"]] = {}  # noqa: RUF012  (nobody writes to it)
    """By further label set."""
    log_var: Float[Tensor, "batch drawn time"] | None = None
    """Logarithm of the reconstruction's variance; None where the decoder draws none."""
    latent: Float[Tensor, "batch feature frame"] | None = None
    """What the predictor makes of the features, to be compared with a teacher's."""
    embedding: Float[Tensor, "batch _"] | None = None
    """A record in the space where two views of it should meet."""


class Standardize(nn.Module):
    """Takes mV to units of each lead's mean and standard deviation over the training split, and back."""

    mean: Tensor
    std: Tensor

    def __init__(self, drawn_leads: list[int]) -> None:
        super().__init__()
        self.drawn_leads = tuple(drawn_leads)
        self.register_buffer("mean", torch.zeros(N_LEADS, 1))
        self.register_buffer("std", torch.ones(N_LEADS, 1))

    def forward(self, signals: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch lead time"]:
        return (signals - self.mean) / self.std

    def basis(self, signals: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch drawn time"]:
        """Of signals in mV the leads that are drawn, the 8 independent ones or all, standardized."""
        return self(signals)[:, self.drawn]

    def to_mv(self, drawn: Float[Tensor, "batch drawn time"]) -> Float[Tensor, "batch drawn time"]:
        return drawn * self.std[self.drawn] + self.mean[self.drawn]

    @property
    def drawn(self) -> Tensor:
        return places(self.drawn_leads, self.mean.device)


class MultiTaskModel(nn.Module):
    """Encoder and heads; which features a task reads is the sharing's affair. Parts are named as in `trains`.

    Tasks are reconstruction, classification, classification_<label set> for further classifiers, latent, contrastive,
    and two that have no head of their own: consistency judges the reconstruction, distillation the classification.
    Predictor and projector are there only where some stage of the config needs them. The forest is grown when the
    network has learnt, so it is there in a finished model only.
    """

    lead_algebra: Tensor

    def __init__(
        self,
        encoder: Sharing,
        decoder: Decoder,
        classifier: Classifier,
        auxiliary_classifiers: Mapping[str, Classifier] | None = None,
        predictor: Predictor | None = None,
        projector: Projector | None = None,
    ) -> None:
        super().__init__()
        self.draws_all = decoder.n_leads == N_LEADS
        self.standardize = Standardize(list(range(N_LEADS)) if self.draws_all else BASIS_INDEX)
        self.encoder = encoder
        self.decoder = decoder
        self.classifier = classifier
        self.auxiliary_classifiers = nn.ModuleDict(auxiliary_classifiers)
        self.predictor = predictor
        self.projector = projector
        self.forest: Forest | None = None
        self.register_buffer("lead_algebra", algebra(), persistent=False)

    def forward(
        self,
        signals: Float[Tensor, "batch lead time"],
        hidden: Bool[Tensor, "batch basis time"] | None = None,
        tasks: tuple[str, ...] = ("reconstruction", "classification"),
        flow: dict[str, float] | None = None,
    ) -> Output:
        """Signals in mV; what is hidden of them never reaches the encoder. Tasks left out cost nothing.

        `flow` gives by task the share of its head's gradient that goes on into the encoder, 1 where it is not named.
        """
        rows = mark(self.standardize(signals), hidden)
        readers = self.readers(tasks)
        found = self.encoder(rows, readers) if readers else {}
        features = {task: let_through(found[task], (flow or {}).get(task, 1.0)) for task in readers}
        pooled = pool_each(features)
        drawing = self.draw(features["reconstruction"], signals.shape[-1]) if "reconstruction" in features else None
        return Output(
            None if drawing is None else drawing.mean,
            read_labels(self.classifier, self.forest, pooled["classification"], signals, hidden)
            if "classification" in pooled
            else None,
            {
                name: head(pooled[f"classification_{name}"]).float()
                for name, head in self.auxiliary_classifiers.items()
                if f"classification_{name}" in pooled
            },
            None if drawing is None else drawing.log_var,
            self.predictor(features["latent"]).float() if self.predictor and "latent" in features else None,
            self.projector(features["contrastive"]).float() if self.projector and "contrastive" in features else None,
        )

    def readers(self, tasks: tuple[str, ...]) -> tuple[str, ...]:
        """The tasks whose heads are needed for these."""
        asked = {JUDGES.get(task, task) for task in tasks}
        heads = ["reconstruction", "classification", *(f"classification_{name}" for name in self.auxiliary_classifiers)]
        heads += [task for task, head in {"latent": self.predictor, "contrastive": self.projector}.items() if head]
        return tuple(task for task in heads if task in asked)

    def draw(self, features: Float[Tensor, "batch feature frame"], n_samples: int) -> Drawing:
        """What the decoder draws, without what lies beyond the last sample."""
        mean, log_var = self.decoder(features)
        return Drawing(mean[..., :n_samples].float(), None if log_var is None else log_var[..., :n_samples].float())

    def classify(self, signals: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch label"]:
        """Logits of whole signals, in mV; the decoder is not touched."""
        features = self.features(signals, "classification", self.encoder)
        return read_labels(self.classifier, self.forest, pool(features), signals)

    def features(
        self, signals: Float[Tensor, "batch lead time"], task: str, encoder: nn.Module
    ) -> Float[Tensor, "batch feature frame"]:
        """What a task reads of whole signals, in mV, by this model's encoder or one of the same kind."""
        return encoder(mark(self.standardize(signals), None), (task,))[task]

    def redraw(
        self, signals: Float[Tensor, "batch lead time"], hidden: Bool[Tensor, "batch basis time"]
    ) -> Float[Tensor, "batch lead time"]:
        """All 12 leads in mV: what is hidden as the decoder and the other leads have it, amid what is not.

        Where it draws the 8 independent leads, a derived one is made of them, and so of what is seen of I or II.
        """
        unseen = spread(hidden) if self.draws_all else hidden
        drawn = self(signals, hidden, ("reconstruction",)).reconstruction
        amid = torch.where(unseen, drawn, self.standardize.basis(signals))
        likely = self.standardize.to_mv(draw_by_leads(amid, unseen))
        redrawn = torch.where(unseen, likely, signals[:, self.standardize.drawn])
        return redrawn if self.draws_all else self.lead_algebra @ redrawn

    def scored(self, scored: Float[Tensor, "batch basis time"]) -> Float[Tensor, "batch drawn time"]:
        """How much each drawn sample counts, from how much those of the 8 independent leads do."""
        return spread_scores(scored) if self.draws_all else scored

    def violation(self, drawn: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch derived time"]:
        """How far III, aVR, aVL and aVF, of 12 leads in standardized units, are from what follows from I and II.

        In units of the derived lead's standard deviation.
        """
        signals = self.standardize.to_mv(drawn)
        basis, derived = (places(tuple(index), drawn.device) for index in (BASIS_INDEX, DERIVED_INDEX))
        error = (signals - self.lead_algebra @ signals[:, basis])[:, derived]
        return error / self.standardize.std[derived]


def pool_each(features: Mapping[str, Float[Tensor, "batch _ _"]]) -> dict[str, Float[Tensor, "batch _"]]:
    """What each classifier reads, by task.

    Compiled, features that several read are pooled once: of one maximum that is stored twice in bf16, torch 2.13 makes
    C++ that does not compile.
    """
    pooled: dict[str, Tensor] = {}
    for task in (task for task in features if task.startswith("classification")):
        same = [other for other in pooled if torch.compiler.is_compiling() and features[other] is features[task]]
        pooled[task] = pooled[same[0]] if same else pool(features[task])
    return pooled


def read_labels(
    classifier: Classifier,
    forest: Forest | None,
    pooled: Float[Tensor, "batch _"],
    signals: Float[Tensor, "batch lead time"],
    hidden: Bool[Tensor, "batch basis time"] | None = None,
) -> Float[Tensor, "batch label"]:
    """The network's logits, and the forest's where one is grown; signals in mV."""
    logits = classifier(pooled).float()
    return logits if forest is None else logits + forest(signals, hidden)


def mark(
    standardized: Float[Tensor, "batch lead time"], hidden: Bool[Tensor, "batch basis time"] | None
) -> Float[Tensor, "batch row time"]:
    """What an encoder sees: the leads, 0 where they are hidden, and rows that tell a hidden sample from a flat one.

    Where nothing is hidden those rows would be 0, and are left out.
    """
    if hidden is None:
        return standardized
    return torch.cat([standardized.masked_fill(spread(hidden), 0.0), hidden.to(standardized.dtype)], dim=1)


def let_through(features: Float[Tensor, "batch feature frame"], share: float) -> Float[Tensor, "batch feature frame"]:
    """The same features, exactly, with this share of their gradient."""
    if share == 1:
        return features
    fixed = features.detach()
    return fixed + share * (features - fixed) if share else fixed
