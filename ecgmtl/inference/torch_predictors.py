"""Prediction with torch: checkpoints, exported .pt2 files, and MLflow models."""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from data_prep.leads import BASIS_INDEX
from ecgmtl import checkpoint
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.data.lead_algebra import N_BASIS
from ecgmtl.data.masking import MASK_SEED, MaskingSettings, sample_mask
from ecgmtl.device import describe_device, full_precision, pick_device
from ecgmtl.inference.metadata import MetadataError, ModelMetadata
from ecgmtl.inference.onnx_predictor import MLFLOW_ONNX, OnnxPredictor
from ecgmtl.tracking.store import default_store, import_mlflow

EXTRA = "ecgmtl.json"
"""Name of the metadata in a torch program."""
MOST_MASKS = 8
"""Largest number of masks that cover a signal. Fewer mask more of it at a time."""


def metadata_of(stored: Checkpoint) -> ModelMetadata:
    """Return the metadata of a checkpoint's classifier.

    Raises:
        MetadataError: no stage trained the classifier.
    """
    if not stored.classifies:
        stages = ", ".join(stage.name for stage in stored.stages_done)
        raise MetadataError(
            f"the model was never trained to classify (its stages: {stages}), so its probabilities would mean nothing; "
            "use a later stage or another model, or use 'ecgmtl reconstruct' with this one."
        )
    standardize = stored.model.standardize
    return ModelMetadata(
        label_set=stored.label_set,
        label_names=stored.label_names,
        calibration=stored.calibration,
        preprocess=stored.config.preprocess,
        lead_mean=tuple(standardize.mean.flatten().tolist()),
        lead_std=tuple(standardize.std.flatten().tolist()),
        provenance=stored.provenance,
        typicality=stored.typicality,
    )


def use_threads(n_threads: int) -> None:
    """Let torch compute in this number of threads in this process. 0 leaves its own number."""
    if n_threads:
        torch.set_num_threads(n_threads)


class CheckpointPredictor:
    """Whole model of a checkpoint, including its decoder, on the GPU where there is one.

    Convolutions and matrix products on a GPU are of full precision, so that probabilities agree with a CPU's.
    """

    def __init__(self, path: Path, reconstruction_error: bool = True) -> None:
        self.stored = checkpoint.load(path)
        self.metadata = metadata_of(self.stored)
        self.reconstruction_error = reconstruction_error
        self.device = pick_device()
        self.device_name = describe_device(self.device)
        self.stored.model.to(self.device)

    @torch.inference_mode()
    def logits(self, signals: Float32[np.ndarray, "batch lead time"]) -> Float32[np.ndarray, "batch label"]:
        """Compute the logits of 12 leads in mV."""
        with full_precision():
            return self.stored.model.classify(self.tensor_of(signals)).cpu().numpy()

    def tensor_of(self, signals: Float32[np.ndarray, "*rest"]) -> Float32[Tensor, "*rest"]:
        """Return signals as a tensor on the model's device."""
        return torch.from_numpy(signals).to(self.device)

    @torch.inference_mode()
    def reconstruction_rmse(
        self, signals: Float32[np.ndarray, "batch lead time"]
    ) -> Float32[np.ndarray, " batch"] | None:
        """Compute the error over the masked samples of the 8 independent leads, with the same mask for every record."""
        if not self.reconstruction_error or not self.stored.maskings:
            return None
        model, batch = self.stored.model, self.tensor_of(signals)
        mask = self.sample_mask(signals.shape[-1], self.stored.maskings[-1]).expand(len(batch), -1, -1)
        if not mask.any():
            return None
        mask = mask.to(self.device)
        with full_precision():
            error = (model.reconstruct(batch, mask) - batch)[:, BASIS_INDEX].square() * mask
        return (error.sum(dim=(1, 2)) / mask.sum(dim=(1, 2))).sqrt().cpu().numpy()

    @torch.inference_mode()
    def reconstruct_masked(self, signal: Float32[np.ndarray, "lead time"]) -> Float32[np.ndarray, "lead time"] | None:
        """Reconstruct each sample of a signal in mV from the rest of it. None if no stage trained the decoder.

        Masks like those of training cover the signal in turn: blocks of time, or leads for a model that learned to
        reconstruct whole leads alone.
        """
        if not self.stored.maskings:
            return None
        masks = cover(signal.shape[-1], self.metadata.preprocess.fs, self.stored.maskings[-1]).to(self.device)
        batch = self.tensor_of(signal).expand(len(masks), -1, -1)
        with full_precision():
            parts = self.stored.model.reconstruct(batch, masks)
            basis = torch.where(masks, parts[:, BASIS_INDEX], 0).sum(dim=0)
            return (self.stored.model.lead_algebra @ basis).cpu().numpy()

    def sample_mask(self, n_samples: int, masking: MaskingSettings) -> Tensor:
        """Sample the mask that all records share."""
        generator = torch.Generator().manual_seed(MASK_SEED)
        always = masking.model_copy(update={"share": 1.0})
        return sample_mask((1, n_samples), self.metadata.preprocess.fs, always, generator)


def cover(n_samples: int, fs: float, masking: MaskingSettings) -> Bool[Tensor, "mask basis time"]:
    """Return masks, each of about the trained fraction, of which exactly one covers each sample of each lead."""
    if masking.time > 0:
        parts = torch.arange(n_samples) // max(1, round(masking.block_seconds * fs))
        lead_shift = torch.arange(N_BASIS) if masking.apart else torch.zeros(N_BASIS, dtype=torch.long)
        index, share = parts[None, :] + lead_shift[:, None], masking.time
    else:
        index, share = torch.arange(N_BASIS)[:, None].expand(-1, n_samples), masking.leads
    n_masks = min(max(round(1 / share), 2), MOST_MASKS)
    return index[None] % n_masks == torch.arange(n_masks)[:, None, None]


class GraphPredictor:
    """Exported classifier: a graph from mV to logits."""

    def __init__(self, graph: Callable[[Tensor], Tensor], metadata: ModelMetadata, source: str) -> None:
        self.graph = graph
        self.metadata = metadata
        self.source = source

    @torch.inference_mode()
    def logits(self, signals: Float32[np.ndarray, "batch lead time"]) -> Float32[np.ndarray, "batch label"]:
        """Compute the logits of 12 leads in mV."""
        try:
            logits = self.graph(torch.from_numpy(signals)).numpy()
        except Exception as error:  # torch raises many types of errors for damaged graphs
            raise MetadataError(f"{self.source}: cannot be run: {error}") from error
        return self.metadata.check_logits(logits, len(signals), self.source)

    def reconstruction_rmse(self, signals: Float32[np.ndarray, "batch lead time"]) -> None:
        """Do nothing, because an export has no decoder."""


def load_pt2(path: Path) -> GraphPredictor:
    """Load a program that `ecgmtl export` wrote.

    No pickled code is run. It is a program all the same, so open only files that you trust.
    """
    extra = {EXTRA: ""}
    try:
        reject_pickles(path)
        program = torch.export.load(path, extra_files=extra)
    except Exception as error:  # torch raises many types of errors for files that are not programs
        raise MetadataError(f"{path}: cannot be opened as an exported program: {error}") from error
    return GraphPredictor(program.module(), ModelMetadata.from_json(str(extra[EXTRA]), str(path)), str(path))


def reject_pickles(path: Path) -> None:
    """Check that every pickled record of a program can be loaded without running code. torch.export.load does not.

    Raises:
        Exception: torch cannot load a record in this way, or ecgmtl never writes such a record (ValueError).
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError("two records have one name")
        if damaged := archive.testzip():  # torch itself does not check the checksums
            raise ValueError(f"{damaged} is damaged")
        for name in names:
            if name.endswith("_config.json"):
                json.loads(archive.read(name), object_hook=reject_pickled_tensor)
            elif name.endswith(".pt"):
                torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)
            elif "/data/constants/" in name or "/data/aotinductor/" in name:
                raise ValueError(f"it holds {name}, which no export of ecgmtl has")


def reject_pickled_tensor(entry: dict[str, Any]) -> None:
    """Raise ValueError if an entry of a config names a pickled tensor."""
    if entry.get("use_pickle"):
        raise ValueError("it holds a pickled tensor, which no export of ecgmtl does")


def load_mlflow(uri: str) -> "GraphPredictor | OnnxPredictor":
    """Load an MLflow model that `ecgmtl export` or a training run wrote. No pickled code is run."""
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    mlflow = import_mlflow()

    try:
        with TemporaryDirectory() as folder, default_store():
            copy = copy_model(uri, Path(folder))
            info = mlflow.models.get_model_info(copy)
            reject_code(uri, info.flavors)
            if (graph := Path(copy) / "data" / MLFLOW_ONNX).is_file():
                return OnnxPredictor(graph)
            program = Path(copy) / "data" / "model.pt2"  # MLflow would follow the path and kind that MLmodel names
            reject_pickles(program)
            model = torch.export.load(program).module()
    except MetadataError:
        raise
    except Exception as error:  # MLflow raises many types of errors for damaged folders
        raise MetadataError(f"{uri}: cannot be opened as an MLflow model: {error}") from error
    metadata = info.metadata if isinstance(info.metadata, dict) else {}
    return GraphPredictor(model, ModelMetadata.from_json(metadata.get("ecgmtl"), uri), uri)


def copy_model(uri: str, into: Path) -> str:
    """Copy an MLflow model out of its folder or its store, and return the path of the copy.

    MLflow decodes percent-encoded characters in the path of a model, so it could not open one in a folder `a%20b`.
    """
    if Path(uri).is_dir():
        return str(shutil.copytree(uri, into / "model"))
    copy: str = import_mlflow().artifacts.download_artifacts(uri, dst_path=str(into))
    return copy


def reject_code(uri: str, flavors: dict[str, Any]) -> None:
    """Raise MetadataError if an MLflow model brings Python code."""
    if any(flavor.get("code") for flavor in flavors.values()):
        raise MetadataError(f"{uri}: contains Python code, which no model of ecgmtl does; it was not opened.")
