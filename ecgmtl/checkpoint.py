"""A trained model in one file, which alone suffices to predict; and the state of a training that can go on.

A model is a safetensors file: weights as plain numbers, all else as JSON in its metadata, so that loading one never
runs code. A training state is a torch file, read with weights_only, which holds no code either.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from data_prep.errors import UserError
from data_prep.files import write_whole
from ecgmtl.config.run import Config, ConfigError, parse_config
from ecgmtl.config.stage import Stage
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.identity import sha256
from ecgmtl.metrics.calibration import Calibration
from ecgmtl.model.forest.forest import Forest
from ecgmtl.model.forest.measurements import measurement_names
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.settings import Settings

VERSION: Literal[3] = 3
KEY = "ecgmtl"
MODEL = "model.safetensors"
"""What the final model of a run and that of a stage are called in their folders."""


class CheckpointError(UserError):
    """A file that is no model of ours, or a damaged one; the message says which and what would do."""


class Description(Settings):
    """What the metadata of a model's file say of its weights. Entries of a later ecgmtl are passed over."""

    model_config = ConfigDict(extra="ignore")

    version: Literal[3] = VERSION
    config: dict[str, Any]
    label_set: str
    label_names: tuple[str, ...] = Field(min_length=1)
    auxiliary_label_names: dict[str, tuple[str, ...]]
    calibration: Calibration
    provenance: dict[str, str]
    measurements: tuple[str, ...] | None = None
    """Measurements that the forest was grown on."""
    weights_sha256: str
    tensors: dict[str, tuple[str, tuple[int, ...]]] | None = None
    """Type and shape of each tensor, which `weights_sha256` does not cover. Files of an earlier ecgmtl lack them."""

    @model_validator(mode="after")
    def labels_fit(self) -> "Description":
        for names in (self.label_names, *self.auxiliary_label_names.values()):
            if len(set(names)) < len(names) or not names:
                raise ValueError(f"labels should be there, and each once; found {', '.join(names) or 'none'}")
        if len(self.calibration.thresholds) != len(self.label_names):
            counts = f"{len(self.calibration.thresholds)} for {len(self.label_names)} labels"
            raise ValueError(f"calibration should have a threshold for each label; found {counts}")
        return self


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
        return tuple(stage.masking for stage in self.stages_done if stage.reconstructs and stage.masking.masks)


def save(path: Path, checkpoint: Checkpoint) -> None:
    model = checkpoint.model
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    description = Description(
        config=checkpoint.config.model_dump(mode="json"),
        label_set=checkpoint.label_set,
        label_names=checkpoint.label_names,
        auxiliary_label_names=checkpoint.auxiliary_label_names,
        calibration=checkpoint.calibration,
        provenance=checkpoint.provenance,
        measurements=None if model.forest is None else tuple(measurement_names(model.forest.fs)),
        weights_sha256=tensors_sha256(tensors),
        tensors={name: type_and_shape(value) for name, value in tensors.items()},
    )
    described = description.model_dump_json()
    metadata = {KEY: described, "sha256": sha256(described.encode())}
    write_whole(path, lambda beside: beside.write_bytes(serialize(tensors, metadata)))


def load(path: Path) -> Checkpoint:
    """The model of a file that `save` wrote.

    Raises:
        CheckpointError: it is missing, not ours, damaged, or of another version.
    """
    tensors, description = read(path)
    try:
        config = parse_config(description.config, str(path))
    except ConfigError as error:
        raise CheckpointError(f"{path}: its settings do not fit this ecgmtl: {error}") from error
    grown = any(name.startswith("forest.") for name in tensors)
    if grown and description.measurements != tuple(measurement_names(config.preprocess.fs)):
        raise CheckpointError(
            f"{path}: its forest was grown on other measurements than this ecgmtl takes; train it again."
        )
    try:
        model = build(config, description, tensors)
        refuse_others(tensors, model.state_dict())
        model.load_state_dict(tensors)
    except (RuntimeError, ValueError, TypeError, LookupError, OverflowError) as error:
        raise CheckpointError(f"{path}: its weights do not fit its settings: {error}") from error
    return Checkpoint(
        model.eval(),
        config,
        description.label_set,
        description.label_names,
        description.calibration,
        description.auxiliary_label_names,
        description.provenance,
    )


def build(config: Config, description: Description, tensors: dict[str, Tensor]) -> MultiTaskModel:
    """An untrained model of the described kind, with a forest as large as the one among the tensors."""
    counts = {name: len(labels) for name, labels in description.auxiliary_label_names.items()}
    model = config.build_model(len(description.label_names), counts)
    model.forest = Forest.of_state(tensors, config.preprocess.fs)
    if model.forest is not None and len(model.forest.start) != len(description.label_names):
        raise ValueError(f"its forest has {len(model.forest.start)} labels for {len(description.label_names)}")
    return model


def refuse_others(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise ValueError unless names, types and shapes of the tensors are those that a model has."""
    for name in sorted(tensors.keys() | expected.keys()):
        if name not in tensors or name not in expected:
            raise ValueError(f"{name} is {'missing' if name in expected else 'not part of it'}")
        found, wanted = type_and_shape(tensors[name]), type_and_shape(expected[name])
        if found != wanted:
            raise ValueError(f"{name} is {in_words(*found)}, and should be {in_words(*wanted)}")


def type_and_shape(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    return str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)


def in_words(kind: str, shape: tuple[int, ...]) -> str:
    return f"{kind} of {' × '.join(map(str, shape)) or 'one value'}"


def read(path: Path) -> tuple[dict[str, Tensor], Description]:
    """Weights and description; their checksums, types and shapes compared."""
    description = describe(path)
    with opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    found = {name: type_and_shape(value) for name, value in tensors.items()}
    if description.tensors not in (None, found):
        raise CheckpointError(f"{path}: its weights are damaged (other types or shapes); take another copy.")
    if tensors_sha256(tensors) != description.weights_sha256:
        raise CheckpointError(f"{path}: its weights are damaged (SHA-256 differs); take another copy.")
    return tensors, description


def describe(path: Path) -> Description:
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
    try:
        tree = json.loads(metadata[KEY])
        version = int(tree["version"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path}: its settings are damaged ({error}); take another copy.") from error
    if version != VERSION:
        age, todo = ("a newer", "update ecgmtl") if version > VERSION else ("an older", "train it again")
        raise CheckpointError(
            f"{path} was written by {age} ecgmtl (checkpoint {version}, this one reads {VERSION}); {todo}."
        )
    try:
        return Description.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "labels"
        raise CheckpointError(
            f"{path}: its settings are damaged ({where}: {first['msg']}); take another copy."
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:  # by what of it is damaged
        raise CheckpointError(f"{path}: not a model of ecgmtl, or cut short: {error}") from error


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """Identifies the values of all tensors, whatever the order they are stored in."""
    return sha256(b"".join(name.encode() + as_bytes(tensors[name]) for name in sorted(tensors)))


def as_bytes(tensor: Tensor) -> bytes:
    """The bytes of any type of tensor, also of those that NumPy does not have."""
    return tensor.flatten().view(torch.uint8).numpy().tobytes()


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Keep a training state: tensors, numbers, strings, lists and dicts only."""
    content = io.BytesIO()  # torch itself ends the process where the disk is full
    torch.save(state, content)
    write_whole(path, lambda beside: beside.write_bytes(content.getbuffer()))


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
    if not isinstance(state, dict):
        found = type(state).__name__
        raise CheckpointError(f"{path}: holds no training state, but a {found}; delete it to train anew.")
    return state


def is_run(path: Path) -> bool:
    return (path / "run.json").is_file()


def model_file(path: Path) -> Path:
    """Return the final model of the run whose folder this is; a path to anything else is returned unchanged.

    Raises:
        CheckpointError: the run is not finished.
    """
    if not is_run(path):
        return path
    if not (path / MODEL).is_file():
        stages = ", ".join(str(model) for model in sorted(path.glob(f"stages/*/{MODEL}")))
        raise CheckpointError(
            f"{path}: this run is not finished, so it has no {MODEL} yet; go on with: ecgmtl train --resume {path}"
            + (f". Its finished stages are models, too: {stages}" if stages else "")
        )
    return path / MODEL
