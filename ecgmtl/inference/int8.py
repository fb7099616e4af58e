"""Export of a classifier to ONNX with convolutions in 8-bit integers, kept only if it ranks records as well.

Weights are scaled by channel. Activations are scaled by the 0.001st and 99.999th percentiles of some training records.
The first convolution, the classifier's head and the trees stay in float32.
"""

import io
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Shaped

from ecgmtl.checkpoint import Checkpoint
from ecgmtl.extras import import_extra
from ecgmtl.inference.export import ExportError, export, quiet
from ecgmtl.inference.onnx_predictor import OnnxPredictor
from ecgmtl.metrics.ranking import macro_auroc

LARGEST_DROP = 0.002
"""Largest fall of the macro AUROC with which the export is kept."""
N_SCALED = 256
"""Number of training records that activations are scaled on."""
BATCH = 32

Signals = Float32[np.ndarray, "record lead time"]


class Int8Report(NamedTuple):
    """Outcome of an export in 8-bit integers."""

    path: Path
    size_bytes: int
    macro_auroc: float
    macro_auroc_float32: float
    n_records: int


class Judged(NamedTuple):
    """Records on which the export is compared with its float32 original."""

    signals: Signals
    """Signals in mV, as the model reads them."""
    labels: Shaped[np.ndarray, "record label"]


def export_int8(
    stored: Checkpoint, out: Path, scaled_on: Signals, judged: Judged, score: str = "", card: str = ""
) -> Int8Report:
    """Write the classifier to `out` as ONNX with 8-bit convolutions, and compare it with float32.

    Raises:
        ExportError: the macro AUROC falls by more than 0.002, the encoder has no convolutions, or `out` cannot be
            written.
        MissingExtraError: a package of the extra `onnx` is not installed.
    """
    import_extra("onnx", "--int8")
    if out.suffix != ".onnx":
        raise ExportError(f"{out}: an export to onnx should end in .onnx.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder, quiet():
            whole, small = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
            export(stored, "onnx", whole, torch.from_numpy(scaled_on[:BATCH]), score, card)
            quantize(whole, small, scaled_on)
            before, after = (macro_auroc(infer(path, judged.signals), judged.labels) for path in (whole, small))
            if not before - after <= LARGEST_DROP:
                raise ExportError(
                    f"{out}: in 8-bit integers the macro AUROC falls from {before:.4f} to {after:.4f}, by more than "
                    f"{LARGEST_DROP}; it was not kept. Export in float32, without --int8."
                )
            small.replace(out)
    except OSError as error:
        raise ExportError(f"{out}: cannot be written: {error.strerror or error}.") from error
    return Int8Report(out, out.stat().st_size, after, before, len(judged.labels))


def quantize(whole: Path, small: Path, signals: Signals) -> None:
    """Write a copy of an ONNX file whose convolutions, but for the first, compute in 8-bit integers."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            last = max(len(signals) - BATCH, 0)  # batches of different sizes are an error of onnxruntime
            self.batches: Iterator[Signals] = (signals[first : first + BATCH] for first in range(0, last + 1, BATCH))

        def get_next(self) -> dict[str, Signals] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"signals": batch}

    prepared = whole.with_name("prepared.onnx")
    quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)
    convolutions = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Conv"][1:]
    if not convolutions:
        raise ExportError("--int8: the encoder has no convolutions after its first; export in float32.")
    with redirect_stdout(io.StringIO()):  # it prints its progress
        quantize_static(
            str(prepared),
            str(small),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=convolutions,
            op_types_to_quantize=["Conv"],
            calibrate_method=CalibrationMethod.Percentile,
        )
    model = onnx.load(small)
    metadata = {entry.key: entry.value for entry in onnx.load(whole).metadata_props}
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, small)


def infer(path: Path, signals: Signals) -> Float32[np.ndarray, "record label"]:
    """Compute the logits of an export, batch by batch."""
    predictor = OnnxPredictor(path)
    return np.concatenate([predictor.logits(signals[first : first + 64]) for first in range(0, len(signals), 64)])
