"""Loading a model to predict with, from any of its formats. Torch is imported only for formats that need it."""

import os
from copy import copy
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from data_prep.errors import UserError
from data_prep.places import AnyPath
from ecgmtl.identity import sha256
from ecgmtl.inference.metadata import ModelMetadata
from ecgmtl.inference.models import BUNDLED, MLFLOW, URIS, find_model
from ecgmtl.metrics.typicality import FEWEST
from ecgmtl.run_files import MODEL, RUN


class PredictorError(UserError):
    """A model that cannot be used."""


@runtime_checkable
class Predictor(Protocol):
    """A classifier, whatever its format is."""

    metadata: ModelMetadata

    def logits(self, signals: Float32[np.ndarray, "batch lead time"]) -> Float32[np.ndarray, "batch label"]:
        """Compute the logits of 12 leads in mV."""

    def reconstruction_rmse(
        self, signals: Float32[np.ndarray, "batch lead time"]
    ) -> Float32[np.ndarray, " batch"] | None:
        """Compute the error of the reconstruction of masked samples, in mV. None without a decoder."""


@runtime_checkable
class Reconstructor(Protocol):
    """A classifier with a decoder."""

    def reconstruct_masked(self, signal: Float32[np.ndarray, "lead time"]) -> Float32[np.ndarray, "lead time"] | None:
        """Reconstruct each sample of a signal in mV from the rest of it. None if no stage trained the decoder."""


def require_typicality(predictor: Predictor, name: str) -> None:
    """Raise PredictorError if a predictor cannot detect records unlike the training records."""
    if predictor.metadata.typicality is None:
        raise PredictorError(
            f"{name}: cannot tell which records are unlike its training records, because it was made by an earlier "
            f"ecgmtl or with fewer than {FEWEST} validation records. Export it with --data, or leave out --warn-ood."
        )


def with_typicality(predictor: Predictor, name: str, wanted: bool | None) -> Predictor:
    """Return a predictor that detects records unlike the training records if `wanted`, or with None if it can.

    Raises:
        PredictorError: it is wanted, and the predictor cannot.
    """
    if wanted:
        require_typicality(predictor, name)
    return without_typicality(predictor) if wanted is False else predictor


def without_typicality(predictor: Predictor) -> Predictor:
    """Return a predictor that does not detect records unlike the training records."""
    other = copy(predictor)
    other.metadata = predictor.metadata.model_copy(update={"typicality": None})
    return other


@runtime_checkable
class OnDevice(Protocol):
    """A classifier that runs on a GPU where there is one."""

    device_name: str
    """Human-readable name of the device."""


def load_predictor(model: AnyPath = BUNDLED, n_threads: int = 0, reconstruction_error: bool = True) -> Predictor:
    """Load the bundled model, a run, a checkpoint, an exported .onnx or .pt2 file, an MLflow folder, or an MLflow URI.

    A run is named by its folder, or by its name in `runs/`. The model computes in `n_threads`, or with 0 in one for
    each core. A checkpoint measures the error of its reconstruction, a second pass of the model, unless
    `reconstruction_error` is False.

    Raises:
        ModelNameError: a bare name belongs to no model.
        PredictorError: there is no such file, or its format is unknown.
        MissingExtraError: it is an .onnx file, and onnxruntime is not installed.
        CheckpointError, MetadataError: it is damaged, not from ecgmtl, or the model of an unfinished run.
    """
    model = find_model(os.fspath(model))
    path = Path(model)
    if not model.startswith(URIS) and not path.exists():
        raise PredictorError(f"{model}: no such file; a trained model is runs/<run>, or its {MODEL}.")
    if path.suffix == ".onnx":
        from ecgmtl.inference.onnx_predictor import OnnxPredictor

        return OnnxPredictor(path, n_threads)
    from ecgmtl.checkpoint import model_file
    from ecgmtl.inference import torch_predictors

    torch_predictors.use_threads(n_threads)
    if model.startswith(URIS):
        return torch_predictors.load_mlflow(model)
    if path.suffix == ".pt2":
        return torch_predictors.load_pt2(path)
    path = model_file(path)
    if (path / MLFLOW).is_file():
        return torch_predictors.load_mlflow(model)
    if path.is_dir():
        raise PredictorError(
            f"{model}: is neither the folder of a training run ({RUN}) nor an MLflow model ({MLFLOW})."
        )
    if path.suffix == ".safetensors":
        return torch_predictors.CheckpointPredictor(path, reconstruction_error)
    raise PredictorError(
        f"{model}: should be a run's folder, .safetensors, .onnx, .pt2, an MLflow folder or URI; found '{path.suffix}'."
    )


def digest_of(model: str, predictor: Predictor) -> str:
    """Return a digest by which another model under the same name is recognized.

    It is the digest of the model's file, or for MLflow's models that of the known facts about the training.
    """
    path = Path(find_model(model))
    weights = path / MODEL if path.is_dir() else path
    return sha256(weights.read_bytes() if weights.is_file() else predictor.metadata.to_json().encode())
