"""Weights of an ONNX file in 16-bit floating-point numbers.

The file is smaller. The computation stays in float32, as processors without 16-bit arithmetic would only convert back
and forth. The trees stay in float32, because rounding a threshold can move a measurement across it.
"""

from pathlib import Path

import numpy as np

from ecgmtl.export.format import ExportError
from ecgmtl.inference.seal import seal

READERS = ("Conv", "Gemm", "MatMul", "Unsqueeze")
"""Operators whose weights are rounded. Convolutions over time read theirs through the last."""
LARGEST = float(np.finfo(np.float16).max)


def halve(whole: Path, small: Path) -> None:
    """Write a copy of an ONNX file whose weights are stored in 16 bits. Each is converted to float32 when it is loaded.

    Raises:
        ExportError: there are no such weights, or one is too large for 16 bits.
    """
    import onnx

    model = onnx.load(whole)
    graph = model.graph
    read = {name for node in graph.node if node.op_type in READERS for name in node.input}
    matrices = [i for i in graph.initializer if i.data_type == onnx.TensorProto.FLOAT and len(i.dims) > 1]
    weights = [matrix for matrix in matrices if matrix.name in read]
    if not weights:
        raise ExportError("--fp16: the model has no weights that could be rounded; export in float32.")
    casts = []
    for weight in weights:
        values = onnx.numpy_helper.to_array(weight)
        if not np.abs(values).max() < LARGEST:
            raise ExportError("--fp16: a weight is too large for 16 bits; export in float32.")
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16"))
        casts.append(onnx.helper.make_node("Cast", [weight.name], [name], f"{name}.to", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, small)
    seal(small)
