"""Files of trained models, each sufficient to predict with.

A model is a safetensors file: its weights are plain numbers and all else is JSON in its metadata, so loading it never
runs code.
"""

import json
from collections.abc import Iterator, Sequence
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
from ecgmtl.config.parse import ConfigError
from ecgmtl.config.run import Config, parse_config
from ecgmtl.config.stage import Stage
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.identity import sha256
from ecgmtl.metrics.calibration import Calibration, require_distinct
from ecgmtl.metrics.typicality import Typicality
from ecgmtl.model.forest.forest import Forest
from ecgmtl.model.forest.measurements import measurement_names
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.run_files import MODEL, RUN, is_run
from ecgmtl.settings import Settings

VERSION: Literal[4] = 4
KEY = "ecgmtl"
"""Key of the description in the metadata of a safetensors file."""


class CheckpointError(UserError):
    """A file that is not a checkpoint, or a damaged one."""


class Description(Settings):
    """Metadata of a checkpoint, which describe its weights. Entries of later versions of ecgmtl are ignored."""

    model_config = ConfigDict(extra="ignore")

    version: Literal[4] = VERSION
    config: dict[str, Any]
    label_set: str
    label_names: tuple[str, ...] = Field(min_length=1)
    auxiliary_label_names: dict[str, tuple[str, ...]]
    calibration: Calibration
    provenance: dict[str, str]
    measurements: tuple[str, ...] | None = None
    """Names of the measurements that the boosted trees were fitted on."""
    typicality: Typicality | None = None
    """Distribution of the training records. Files of earlier versions, and of stages within a run, lack it."""
    weights_sha256: str
    tensors: dict[str, tuple[str, tuple[int, ...]]] | None = None
    """Type and shape of each tensor, which `weights_sha256` does not cover. Files of earlier versions lack them."""

    @model_validator(mode="after")
    def labels_fit(self) -> "Description":
        self.calibration.require_labels(self.label_names)
        for names in self.auxiliary_label_names.values():
            require_distinct(names)
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
    """Names of the labels of each further label set."""
    provenance: dict[str, str] = field(default_factory=dict)
    """Stage, data, code, command and package versions that the model came from."""
    typicality: Typicality | None = None
    """Distribution of the training records, by which records unlike them are detected."""

    @property
    def stages_done(self) -> tuple[Stage, ...]:
        """Stages that trained the model, as far as its file says."""
        names = [stage.name for stage in self.config.stages]
        last = self.provenance.get("stage")
        return self.config.lineage(last if last in names else names[-1])

    @property
    def classifies(self) -> bool:
        """Whether any stage trained the classifier. Otherwise its probabilities mean nothing."""
        return any(stage.classifies for stage in self.stages_done)

    def difference_from(self, label_names: Sequence[str]) -> str:
        """Return in words how the labels of some data differ from the model's, and what to do; empty if they do not."""
        if self.label_names == tuple(label_names):
            return ""
        reads = f"the model reads {', '.join(self.label_names)}; the data has {', '.join(label_names)}"
        if set(self.label_names) == set(label_names):
            return (
                f"{reads}. These are the same in another order: put the columns of labels.csv into the model's order."
            )
        return f"{reads}. Prepare the data with the model's labels, spelled alike and in the same order."

    @property
    def maskings(self) -> tuple[MaskingSettings, ...]:
        """Masking of each stage that trained the decoder on masked samples; empty if there is none."""
        return tuple(stage.masking for stage in self.stages_done if stage.reconstructs and stage.masking.masks)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint. The file appears under its name only when it is complete."""
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
        typicality=checkpoint.typicality,
        weights_sha256=tensors_sha256(tensors),
        tensors={name: type_and_shape(value) for name, value in tensors.items()},
    )
    described = description.model_dump_json()
    metadata = {KEY: described, "sha256": sha256(described.encode())}
    write_whole(path, lambda beside: beside.write_bytes(serialize(tensors, metadata)))


def load(path: Path) -> Checkpoint:
    """Load the checkpoint that `save` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, of another version, or not a checkpoint.
    """
    tensors, description = read(path)
    try:
        config = parse_config(description.config, str(path))
    except ConfigError as error:
        raise CheckpointError(f"{path}: its settings do not fit this ecgmtl: {error}") from error
    has_forest = any(name.startswith("forest.") for name in tensors)
    if has_forest and description.measurements != tuple(measurement_names(config.preprocess.fs)):
        raise CheckpointError(
            f"{path}: its boosted trees were fitted on measurements other than those that this ecgmtl computes; "
            "train it again."
        )
    try:
        model = build_model(config, description, tensors)
        require_same_tensors(tensors, model.state_dict())
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
        description.typicality,
    )


def build_model(config: Config, description: Description, tensors: dict[str, Tensor]) -> MultiTaskModel:
    """Build an untrained model of the described kind, with a forest of the size of the one among the tensors."""
    counts = {name: len(labels) for name, labels in description.auxiliary_label_names.items()}
    model = config.build_model(len(description.label_names), counts)
    model.forest = Forest.of_state(tensors, config.preprocess.fs)
    if model.forest is not None and len(model.forest.start) != len(description.label_names):
        raise ValueError(f"its forest has {len(model.forest.start)} labels instead of {len(description.label_names)}")
    return model


def require_same_tensors(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise ValueError unless the tensors have the names, types and shapes of those of a model."""
    for name in sorted(tensors.keys() | expected.keys()):
        if name not in tensors or name not in expected:
            raise ValueError(f"{name} is {'missing' if name in expected else 'not part of it'}")
        stored, needed = type_and_shape(tensors[name]), type_and_shape(expected[name])
        if stored != needed:
            raise ValueError(f"{name} is {spell_type(*stored)}, and should be {spell_type(*needed)}")


def type_and_shape(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    """Return type and shape of a tensor as they are stored in JSON."""
    return str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)


def spell_type(dtype: str, shape: tuple[int, ...]) -> str:
    """Spell type and shape of a tensor, for messages."""
    return f"{dtype} of {' × '.join(map(str, shape)) or 'one value'}"


def read(path: Path) -> tuple[dict[str, Tensor], Description]:
    """Read weights and description, and check their checksums, types and shapes.

    Raises:
        CheckpointError: the file is missing, damaged, of another version, or not a checkpoint.
    """
    description = describe(path)
    with open_safetensors(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    types = {name: type_and_shape(value) for name, value in tensors.items()}
    if description.tensors not in (None, types):
        raise CheckpointError(f"{path}: its weights are damaged (other types or shapes); use another copy.")
    if tensors_sha256(tensors) != description.weights_sha256:
        raise CheckpointError(f"{path}: its weights are damaged (SHA-256 differs); use another copy.")
    return tensors, description


def describe(path: Path) -> Description:
    """Read the description alone, without the weights.

    Raises:
        CheckpointError: the file is missing, damaged, of another version, or not a checkpoint.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: is neither a checkpoint nor the folder of a training run, which has a {RUN}.")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; a trained model is runs/<run>/{MODEL}.")
    with open_safetensors(path) as file:
        metadata = file.metadata() or {}
    if KEY not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not one that ecgmtl wrote.")
    if sha256(metadata[KEY].encode()) != metadata.get("sha256"):
        raise CheckpointError(f"{path}: its settings are damaged (SHA-256 differs); use another copy.")
    try:
        tree = json.loads(metadata[KEY])
        version = int(tree["version"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path}: its settings are damaged ({error}); use another copy.") from error
    if version != VERSION:
        age, remedy = ("a newer", "update ecgmtl") if version > VERSION else ("an older", "train it again")
        raise CheckpointError(
            f"{path} was written by {age} ecgmtl (checkpoint {version}, this one reads {VERSION}); {remedy}."
        )
    try:
        return Description.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "labels"
        raise CheckpointError(f"{path}: its settings are damaged ({key}: {first['msg']}); use another copy.") from error


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file; any error while it is open is a CheckpointError."""
    if path.suffix in (".onnx", ".pt2"):
        raise CheckpointError(f"{path}: is an exported model; pass the run or the checkpoint (.safetensors) instead.")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:  # which one depends on the damage
        raise CheckpointError(f"{path}: is not a checkpoint, or is cut short: {error}") from error


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """Return a hash of names and values of all tensors, independent of their order."""
    return sha256(b"".join(name.encode() + as_bytes(tensors[name]) for name in sorted(tensors)))


def as_bytes(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor of any type, also of types that NumPy does not have."""
    return tensor.flatten().view(torch.uint8).numpy().tobytes()


def model_file(path: Path) -> Path:
    """Return the file of the final model if the path is the folder of a run; return any other path unchanged.

    Raises:
        CheckpointError: the run is not finished.
    """
    if not is_run(path):
        return path
    if not (path / MODEL).is_file():
        stages = ", ".join(str(model) for model in sorted(path.glob(f"stages/*/{MODEL}")))
        raise CheckpointError(
            f"{path}: this run is not finished, so it has no {MODEL} yet; continue with: ecgmtl train --resume {path}"
            + (f". Its finished stages have models, too: {stages}" if stages else "")
        )
    return path / MODEL
