"""A trained model in one file, which alone suffices to predict; and the state of a training that can go on.

A model is a safetensors file: weights as plain numbers, all else as JSON in its metadata, so that loading one never
runs code. A training state is a torch file, read with weights_only, which holds no code either.
"""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data_prep.files import write_whole
from ecgmtl.calibration import Calibration
from ecgmtl.config import Config, ConfigError, parse_config
from ecgmtl.forest import Forest
from ecgmtl.identity import sha256
from ecgmtl.masking import MaskingSettings
from ecgmtl.measurements import measurement_names
from ecgmtl.model import MultiTaskModel
from ecgmtl.stages import Stage

VERSION = 2
KEY = "ecgmtl"


class CheckpointError(ValueError):
    """A file that is no model of ours, or a damaged one; the message says which and what would do."""


@dataclass(frozen=True)
class Checkpoint:
    """A model ready to use: in eval mode, on the CPU, in float32."""

    model: MultiTaskModel
    config: Config
    label_set: str
    label_names: tuple[str, ...]
    calibration: Calibration
    auxiliary_label_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By further label set."""
    provenance: dict[str, str] = field(default_factory=dict)
    """Stage, data, code and package version it came from."""

    @property
    def stages_done(self) -> tuple[Stage, ...]:
        """The stages that the model went through, as far as its file says."""
        names = [stage.name for stage in self.config.stages]
        last = self.provenance.get("stage")
        return self.config.lineage(last if last in names else names[-1])

    @property
    def classifies(self) -> bool:
        """Whether it ever learnt to; else its probabilities mean nothing."""
        return any(stage.classifies for stage in self.stages_done)

    @property
    def maskings(self) -> tuple[MaskingSettings, ...]:
        """How samples were hidden while the decoder learnt, a stage each; empty where it never learnt to draw such."""
        return tuple(stage.masking for stage in self.stages_done if stage.reconstructs and stage.masking.hides)


def save(path: Path, checkpoint: Checkpoint) -> None:
    model = checkpoint.model
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    description = {
        "version": VERSION,
        "config": checkpoint.config.model_dump(mode="json"),
        "label_set": checkpoint.label_set,
        "label_names": checkpoint.label_names,
        "auxiliary_label_names": checkpoint.auxiliary_label_names,
        "calibration": checkpoint.calibration.model_dump(mode="json"),
        "provenance": checkpoint.provenance,
        "measurements": None if model.forest is None else measurement_names(model.forest.fs),
        "weights_sha256": tensors_sha256(tensors),
    }
    described = json.dumps(description)
    metadata = {KEY: described, "sha256": sha256(described.encode())}
    write_whole(path, lambda beside: save_file(tensors, beside, metadata=metadata))


def load(path: Path) -> Checkpoint:
    """The model of a file that `save` wrote.

    Raises:
        CheckpointError: it is missing, not ours, damaged, or of another version.
    """
    tensors, description = read(path)
    try:
        config = parse_config(description["config"], str(path))
    except ConfigError as error:
        raise CheckpointError(f"{path}: its settings do not fit this ecgmtl: {error}") from error
    auxiliary = {name: tuple(labels) for name, labels in description["auxiliary_label_names"].items()}
    counts = {name: len(labels) for name, labels in auxiliary.items()}
    model = config.build_model(len(description["label_names"]), counts)
    grown = any(name.startswith("forest.") for name in tensors)
    if grown and description.get("measurements") != measurement_names(config.preprocess.fs):
        raise CheckpointError(
            f"{path}: its forest was grown on other measurements than this ecgmtl takes; train it again."
        )
    model.forest = Forest.of_state(tensors, config.preprocess.fs)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its weights do not fit its settings: {error}") from error
    return Checkpoint(
        model.eval(),
        config,
        description["label_set"],
        tuple(description["label_names"]),
        Calibration.model_validate(description["calibration"]),
        auxiliary,
        description["provenance"],
    )


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and description, their checksums compared."""
    description = describe(path)
    with opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    if tensors_sha256(tensors) != description["weights_sha256"]:
        raise CheckpointError(f"{path}: its weights are damaged (SHA-256 differs); take another copy.")
    return tensors, description


def describe(path: Path) -> dict[str, Any]:
    """The description alone; of the weights nothing is read."""
    if path.is_dir():
        raise CheckpointError(f"{path}: neither a checkpoint nor the folder of a training run, which has a run.json.")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; a trained model is runs/<run>/model.safetensors.")
    with opened(path) as file:
        metadata = file.metadata() or {}
    if KEY not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not one that ecgmtl wrote.")
    if sha256(metadata[KEY].encode()) != metadata.get("sha256"):
        raise CheckpointError(f"{path}: its settings are damaged (SHA-256 differs); take another copy.")
    description: dict[str, Any] = json.loads(metadata[KEY])
    if description["version"] != VERSION:
        age = "a newer" if description["version"] > VERSION else "an older"
        raise CheckpointError(
            f"{path} was written by {age} ecgmtl (checkpoint {description['version']}, this one reads {VERSION}); "
            f"{'update ecgmtl' if age == 'a newer' else 'train it again'}."
        )
    return description


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a model of ecgmtl, or cut short: {error}") from error


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """Identifies the values of all tensors, whatever the order they are stored in."""
    return sha256(b"".join(name.encode() + tensors[name].numpy().tobytes() for name in sorted(tensors)))


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Keep a training state: tensors, numbers, strings, lists and dicts only."""
    write_whole(path, lambda beside: torch.save(state, beside))


def load_state(path: Path) -> dict[str, Any]:
    """A training state.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself does not compare the checksums
        if damaged:
            raise ValueError(f"{damaged} is damaged")  # noqa: TRY301
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises six kinds of errors for damaged files
        raise CheckpointError(f"{path}: the training state is damaged ({error}); delete it to train anew.") from error
    return state
