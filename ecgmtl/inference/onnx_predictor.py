"""Prediction with an exported ONNX file by onnxruntime, which needs no torch."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_prep.extras import import_extra
from ecgmtl.inference.metadata import MetadataError, ModelMetadata
from ecgmtl.inference.models import name_of
from ecgmtl.inference.seal import refuse_damage

MLFLOW_ONNX = "model.onnx"
"""Name of the file in the folder of an MLflow model that takes ECG files."""


class OnnxPredictor:
    """Classifier in an ONNX file. Raises MetadataError if the file is damaged or not exported by ecgmtl.

    It computes in `n_threads`, or with 0 in one for each core.
    """

    def __init__(self, path: Path, n_threads: int = 0) -> None:
        self.name = name_of(path)
        onnxruntime = import_extra("onnxruntime", self.name)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = n_threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads take no core
        try:
            content = path.read_bytes()
        except OSError as error:
            raise MetadataError(f"{self.name}: cannot be read: {error.strerror or error}.") from error
        refuse_damage(content, self.name)
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has many types of errors for damaged files
            raise MetadataError(f"{self.name}: cannot be opened as ONNX: {error}") from error
        try:
            metadata = self.session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise MetadataError(f"{self.name}: its metadata are damaged ({error}); export it again.") from error
        self.metadata = ModelMetadata.from_json(metadata.get("ecgmtl"), self.name)

    def logits(self, signals: Float32[np.ndarray, "batch lead time"]) -> Float32[np.ndarray, "batch label"]:
        """Compute the logits of 12 leads in mV."""
        try:
            (logits,) = self.session.run(["logits"], {"signals": signals})
        except Exception as error:  # onnxruntime has many types of errors for damaged graphs
            raise MetadataError(f"{self.name}: cannot be run: {error}") from error
        return self.metadata.check_logits(np.asarray(logits), len(signals), self.name)

    def reconstruction_rmse(self, signals: Float32[np.ndarray, "batch lead time"]) -> None:
        """Do nothing, because an export has no decoder."""
