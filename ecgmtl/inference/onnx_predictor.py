"""An exported ONNX file, run by onnxruntime; torch is not needed."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ecgmtl.extras import import_extra
from ecgmtl.inference.metadata import MetadataError, ModelMetadata


class OnnxPredictor:
    def __init__(self, path: Path) -> None:
        onnxruntime = import_extra("onnxruntime", str(path))
        self.path = path
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has errors of its own for each way a file can be wrong
            raise MetadataError(f"{path}: cannot be opened as ONNX: {error}") from error
        try:
            metadata = self.session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise MetadataError(f"{path}: its description is damaged ({error}); export it again.") from error
        self.metadata = ModelMetadata.from_json(metadata.get("ecgmtl"), str(path))

    def logits(self, signals: Float32[np.ndarray, "batch lead time"]) -> Float32[np.ndarray, "batch label"]:
        try:
            (found,) = self.session.run(["logits"], {"signals": signals})
        except Exception as error:  # onnxruntime has errors of its own for each way a graph can be wrong
            raise MetadataError(f"{self.path}: cannot be run: {error}") from error
        return self.metadata.as_logits(np.asarray(found), len(signals), str(self.path))

    def reconstruction_rmse(self, signals: Float32[np.ndarray, "batch lead time"]) -> None:
        return None
