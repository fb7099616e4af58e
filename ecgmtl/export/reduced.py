"""Exports of a classifier to ONNX in fewer bits, each kept only if it ranks records as well as float32."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Shaped

from data_prep.extras import import_extra
from data_prep.files import writing
from data_prep.store.open import Store
from data_prep.words import counted
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.data.split import refuse_one_class
from ecgmtl.export.format import ExportError, ExportFormat, require_path
from ecgmtl.export.fp16 import halve
from ecgmtl.export.int8 import BATCH, N_SCALED, Signals, quantize
from ecgmtl.export.write import export, quiet
from ecgmtl.inference.onnx_predictor import OnnxPredictor
from ecgmtl.metrics.ranking import macro_auroc

LARGEST_DROP = 0.002
"""Largest fall of the macro AUROC with which the export is kept."""


class Reduction(NamedTuple):
    """Method of writing a model in fewer bits."""

    option: str
    numbers: str
    """Name of the numbers, for messages."""
    write: Callable[[Path, Path, Signals], None]
    """Function that writes a copy of an ONNX file, with some training records to scale on."""


REDUCTIONS = {
    "int8": Reduction("--int8", "8-bit integers", quantize),
    "fp16": Reduction("--fp16", "16-bit numbers", lambda whole, small, _: halve(whole, small)),
}


class ReducedReport(NamedTuple):
    """Outcome of an export in fewer bits."""

    path: Path
    size_bytes: int
    macro_auroc: float
    macro_auroc_float32: float
    n_records: int
    numbers: str
    """Name of the numbers, for messages."""

    @property
    def summary(self) -> str:
        return (
            f"{self.path}: {self.size_bytes / 1e6:.2f} MB, macro AUROC {self.macro_auroc:.4f} in {self.numbers} for "
            f"{self.macro_auroc_float32:.4f} in float32, on {counted(self.n_records, 'validation record')}"
        )


class EvaluationRecords(NamedTuple):
    """Records on which the export is compared with its float32 original."""

    signals: Signals
    """Signals in mV, as the model reads them."""
    labels: Shaped[np.ndarray, "record label"]


def reduce_and_evaluate(
    stored: Checkpoint, kind: str, out: Path, store: Store, score: str = "", card: str = ""
) -> ReducedReport:
    """Write an export in fewer bits. It is scaled on training records of a store and evaluated on validation ones.

    Raises:
        ExportError: the store has other labels.
        StoreError: no label has both positives and negatives in its validation split.
        ExportError, MissingExtraError: as `export_reduced`.
    """
    if difference := stored.difference_from(store.label_names(stored.label_set)):
        raise ExportError(f"{store.path}: {difference}")
    train, validation = store.rows_of("train"), store.rows_of("validation")
    scaled_on, signals = (store.read_millivolts(rows) for rows in (train[:N_SCALED], validation))
    evaluated = EvaluationRecords(signals, store.labels(stored.label_set)[validation])
    remedy = "Pass the data that the model was trained on."
    refuse_one_class(evaluated.labels, stored.label_names, "validation", remedy)
    return export_reduced(stored, REDUCTIONS[kind], out, scaled_on, evaluated, score, card)


def export_reduced(
    stored: Checkpoint,
    reduction: Reduction,
    out: Path,
    scaled_on: Signals,
    evaluated: EvaluationRecords,
    score: str = "",
    card: str = "",
) -> ReducedReport:
    """Write the classifier to `out` as ONNX in fewer bits, and compare it with float32.

    Raises:
        ExportError: the macro AUROC falls by more than 0.002, the encoder has nothing to reduce, or `out` cannot be
            written.
        MissingExtraError: a package of the extra `onnx` is not installed.
    """
    option, numbers, write = reduction
    import_extra("onnx", option)
    require_path(ExportFormat.ONNX, out)
    with writing(out, ExportError):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder, quiet():
            whole, small = Path(folder) / "float32.onnx", Path(folder) / "reduced.onnx"
            export(stored, ExportFormat.ONNX, whole, torch.from_numpy(scaled_on[:BATCH]), score, card)
            write(whole, small, scaled_on)
            before, after = (macro_auroc(infer(path, evaluated.signals), evaluated.labels) for path in (whole, small))
            if not before - after <= LARGEST_DROP:
                raise ExportError(
                    f"{out}: in {numbers} the macro AUROC falls from {before:.4f} to {after:.4f}, by more than "
                    f"{LARGEST_DROP}; it was not kept. Export in float32, without {option}."
                )
            small.replace(out)
    return ReducedReport(out, out.stat().st_size, after, before, len(evaluated.labels), numbers)


def infer(path: Path, signals: Signals) -> Float32[np.ndarray, "record label"]:
    """Compute the logits of an export, batch by batch."""
    predictor = OnnxPredictor(path)
    return np.concatenate([predictor.logits(signals[first : first + 64]) for first in range(0, len(signals), 64)])
