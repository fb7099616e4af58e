"""Convolutions of an ONNX file in 8-bit integers.

Weights are scaled by channel. Activations are scaled by the 0.001st and 99.999th percentiles of some training records.
The first convolution, the classifier's head and the trees stay in float32.
"""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ecgmtl.export.format import ExportError
from ecgmtl.inference.seal import seal

N_SCALED = 256
"""Number of training records that activations are scaled on."""
BATCH = 32

Signals = Float32[np.ndarray, "record lead time"]


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
    seal(small)
