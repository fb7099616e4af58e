"""An exported ONNX file, run by onnxruntime; torch is not needed."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ecgmtl.card import Card, CardError
from ecgmtl.extras import import_extra


class OnnxPredictor:
    def __init__(self, path: Path) -> None:
        onnxruntime = import_extra("onnxruntime", str(path))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has errors of its own for each way a file can be wrong
            raise CardError(f"{path}: cannot be opened as ONNX: {error}") from error
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.card = Card.from_json(metadata.get("ecgmtl"), str(path))

    def logits(self, signals: Float32[np.ndarray, "batch lead time"]) -> Float32[np.ndarray, "batch label"]:
        (found,) = self.session.run(["logits"], {"signals": signals})
        return np.asarray(found, dtype=np.float32)

    def reconstruction_rmse(self, signals: Float32[np.ndarray, "batch lead time"]) -> None:
        return None
