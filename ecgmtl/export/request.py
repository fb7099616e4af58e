"""A request to export a model, and the function that runs it."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from ecgmtl import checkpoint
from ecgmtl.data.split import open_for
from ecgmtl.export.format import ExportFormat, ReductionName
from ecgmtl.export.reduced import reduce_and_evaluate
from ecgmtl.export.write import add_typicality, export, signals_to_compare
from ecgmtl.inference.models import find_model
from ecgmtl.inference.run_score import score_and_card
from ecgmtl.metrics.typicality import FEWEST


@dataclass(frozen=True)
class ExportRequest:
    """A model, and the export to write of it."""

    model: str
    """Run, by its folder or name, or checkpoint."""
    to: ExportFormat
    out: Path
    data: Path | None = None
    """Prepared folder with the records on which the export is compared. None: synthetic ones."""
    reduction: ReductionName | None = None
    """Way of writing an ONNX file in fewer bits, for which `data` are needed."""


class Exported(NamedTuple):
    """Outcome of an export, in words."""

    summary: str
    missing: str
    """Sentence on what the export cannot do, why, and what would help. Empty if it lacks nothing."""


def run_export(request: ExportRequest) -> Exported:
    """Export a model as requested.

    Raises:
        CheckpointError: it is not a checkpoint, or is damaged.
        StoreError: the prepared folder cannot be used.
        ExportError, MissingExtraError: as `export` and `reduce_and_evaluate`.
    """
    file = checkpoint.model_file(Path(find_model(request.model)))
    stored, store = checkpoint.load(file), None
    if request.data is not None:
        store = open_for(request.data, stored.config.preprocess, stored.config.validation_fold)
        stored = add_typicality(stored, store)
    score, card = score_and_card(file)
    if request.reduction is not None and store is not None:
        summary = reduce_and_evaluate(stored, request.reduction, request.out, store, score, card).summary
    else:
        signals = torch.from_numpy(signals_to_compare(stored.config, store))
        summary = export(stored, request.to, request.out, signals, score, card).summary
    return Exported(summary, "" if stored.typicality is not None else without_typicality(request.data))


def without_typicality(data: Path | None) -> str:
    """Return in words why an export cannot detect unusual records, and what would help."""
    remedy = (
        "It was made by an earlier ecgmtl, so --data with the training data adds this; or it was trained with "
        f"fewer than {FEWEST} validation records, which are too few."
    )
    if data is not None:
        remedy = f"{data} does not help: it is not the training data, or has fewer than {FEWEST} validation records."
    return f"It cannot detect records unlike the training records. {remedy}"
