"""Models that torch runs: checkpoints, exported .pt2 files, and MLflow models."""

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
from jaxtyping import Float32
from torch import Tensor

from ecgmtl import checkpoint
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.data.lead_algebra import BASIS_INDEX
from ecgmtl.data.masking import MASK_SEED, MaskingSettings, sample_mask
from ecgmtl.inference.metadata import MetadataError, ModelMetadata
from ecgmtl.tracking.store import default_store, import_mlflow

EXTRA = "ecgmtl.json"


def metadata_of(stored: Checkpoint) -> ModelMetadata:
    """What travels with a classifier that is taken out of this checkpoint.

    Raises:
        MetadataError: it has learnt no classes.
    """
    if not stored.classifies:
        gone_through = ", ".join(stage.name for stage in stored.stages_done)
        raise MetadataError(
            f"the model never learnt to classify (it went through {gone_through}), so its probabilities would mean "
            f"nothing; take one that did, or 'ecgmtl reconstruct' for what this one can do."
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
    )


class CheckpointPredictor:
    """The whole model, decoder included."""

    def __init__(self, path: Path) -> None:
        self.stored = checkpoint.load(path)
        self.metadata = metadata_of(self.stored)

    @torch.inference_mode()
    def logits(self, signals: Float32[np.ndarray, "batch lead time"]) -> Float32[np.ndarray, "batch label"]:
        return self.stored.model.classify(torch.from_numpy(signals)).numpy()

    @torch.inference_mode()
    def reconstruction_rmse(
        self, signals: Float32[np.ndarray, "batch lead time"]
    ) -> Float32[np.ndarray, " batch"] | None:
        """Over the 8 independent leads; the same samples are hidden in every record."""
        if not self.stored.maskings:
            return None
        model, batch = self.stored.model, torch.from_numpy(signals)
        mask = self.mask(signals.shape[-1], self.stored.maskings[-1]).expand(len(batch), -1, -1)
        if not mask.any():
            return None
        error = (model.reconstruct(batch, mask) - batch)[:, BASIS_INDEX].square() * mask
        return (error.sum(dim=(1, 2)) / mask.sum(dim=(1, 2))).sqrt().numpy()

    def mask(self, n_samples: int, masking: MaskingSettings) -> Tensor:
        generator = torch.Generator().manual_seed(MASK_SEED)
        shown = masking.model_copy(update={"share": 1.0})
        return sample_mask((1, n_samples), self.metadata.preprocess.fs, shown, generator)


class GraphPredictor:
    """An exported classifier: a graph from mV to logits."""

    def __init__(self, graph: Callable[[Tensor], Tensor], metadata: ModelMetadata, source: str) -> None:
        self.graph = graph
        self.metadata = metadata
        self.source = source

    @torch.inference_mode()
    def logits(self, signals: Float32[np.ndarray, "batch lead time"]) -> Float32[np.ndarray, "batch label"]:
        try:
            found = self.graph(torch.from_numpy(signals)).numpy()
        except Exception as error:  # torch raises errors of many kinds for graphs that are damaged
            raise MetadataError(f"{self.source}: cannot be run: {error}") from error
        return self.metadata.as_logits(found, len(signals), self.source)

    def reconstruction_rmse(self, signals: Float32[np.ndarray, "batch lead time"]) -> None:
        return None


def load_pt2(path: Path) -> GraphPredictor:
    """A program that `ecgmtl export` wrote. No pickled code is run; it is a program still, so open those you trust."""
    extra = {EXTRA: ""}
    try:
        refuse_pickles(path)
        program = torch.export.load(path, extra_files=extra)
    except Exception as error:  # torch raises errors of many kinds for files that are no programs
        raise MetadataError(f"{path}: cannot be opened as an exported program: {error}") from error
    return GraphPredictor(program.module(), ModelMetadata.from_json(str(extra[EXTRA]), str(path)), str(path))


def refuse_pickles(path: Path) -> None:
    """Open every record that torch would unpickle in the way that runs no code; torch.export.load itself does not.

    Raises:
        ValueError, or what torch raises: a record needs more than that, or is of a kind that we never write.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError("two records have one name")
        for name in names:
            if name.endswith("_config.json"):
                json.loads(archive.read(name), object_hook=refuse_pickled_tensor)
            elif name.endswith(".pt"):
                torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)
            elif "/data/constants/" in name or "/data/aotinductor/" in name:
                raise ValueError(f"it holds {name}, which no export of ecgmtl has")


def refuse_pickled_tensor(told: dict[str, Any]) -> None:
    if told.get("use_pickle"):
        raise ValueError("it holds a pickled tensor, which no export of ecgmtl does")


def load_mlflow(uri: str) -> GraphPredictor:
    """An MLflow model that `ecgmtl export` or a training run wrote; no pickled code is run."""
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    mlflow = import_mlflow()

    try:
        with TemporaryDirectory() as folder, default_store():
            copy = copy_model(uri, Path(folder))
            info = mlflow.models.get_model_info(copy)
            refuse_code(uri, info.flavors)
            program = Path(copy) / "data" / "model.pt2"  # MLflow would follow the path and kind that MLmodel names
            refuse_pickles(program)
            model = torch.export.load(program).module()
    except MetadataError:
        raise
    except Exception as error:  # MLflow raises errors of many kinds for folders that are damaged
        raise MetadataError(f"{uri}: cannot be opened as an MLflow model: {error}") from error
    metadata = info.metadata if isinstance(info.metadata, dict) else {}
    return GraphPredictor(model, ModelMetadata.from_json(metadata.get("ecgmtl"), uri), uri)


def copy_model(uri: str, into: Path) -> str:
    """Copy an MLflow model out of its folder or its store, and return the path of the copy.

    MLflow decodes what looks percent-encoded in the path of a model, so it could not open one in a folder `a%20b`.
    """
    if Path(uri).is_dir():
        return str(shutil.copytree(uri, into / "model"))
    found: str = import_mlflow().artifacts.download_artifacts(uri, dst_path=str(into))
    return found


def refuse_code(uri: str, flavors: dict[str, Any]) -> None:
    if any(flavor.get("code") for flavor in flavors.values()):
        raise MetadataError(f"{uri}: brings Python code of its own, which no model of ecgmtl does; it was not opened.")
