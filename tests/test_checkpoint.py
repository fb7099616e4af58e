import json
import pickle
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ecgmtl import checkpoint
from ecgmtl.checkpoint import Checkpoint, CheckpointError
from ecgmtl.config.run import Config
from ecgmtl.inference.models import BUNDLED_FILE
from ecgmtl.metrics.calibration import Calibration
from ecgmtl.metrics.typicality import fit_typicality
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.training.state_file import load_state


@pytest.fixture
def stored():
    config = Config(encoder=CnnSettings(widths=(8, 8)), auxiliary_labels=("form",))
    model = config.build_model(2, {"form": 3}).eval()
    calibration = Calibration(slope=(1.5, 2.0), intercept=(0.1, 0.2), thresholds=(0.3, 0.4))
    return Checkpoint(
        model, config, "rhythm", ("SR", "AFIB"), calibration, {"form": ("a", "b", "c")}, {"stage": "joint"}
    )


@pytest.fixture
def path(stored, tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, stored)
    return path


def test_a_loaded_model_equals_the_saved_one(stored, path):
    loaded = checkpoint.load(path)
    signals = torch.randn(2, 12, 300)
    assert torch.equal(loaded.model.classify(signals), stored.model.classify(signals))
    assert (loaded.config, loaded.label_names, loaded.calibration) == (
        stored.config,
        stored.label_names,
        stored.calibration,
    )
    assert loaded.provenance == stored.provenance


def test_how_the_training_records_look_is_stored_where_it_is_known(path, stored, tmp_path, rng):
    assert checkpoint.load(path).typicality is None
    noise = rng.normal(0, 0.2, (120, 12, 300)).astype(np.float32)
    known = replace(stored, typicality=fit_typicality([noise], [noise], 100))
    checkpoint.save(tmp_path / "known.safetensors", known)
    assert checkpoint.load(tmp_path / "known.safetensors").typicality == known.typicality


def test_a_file_of_an_earlier_ecgmtl_without_typicality_is_read(path, stored):
    with_header(path, lambda _, description: description.pop("typicality"))
    earlier = checkpoint.load(path)
    assert earlier.typicality is None
    assert earlier.calibration == stored.calibration


def test_every_flipped_bit_is_detected(path):
    content = path.read_bytes()
    for offset in torch.randint(8, len(content), (40,), generator=torch.Generator().manual_seed(0)).tolist():
        damaged = bytearray(content)
        damaged[offset] ^= 1 << (offset % 8)
        path.write_bytes(bytes(damaged))
        with pytest.raises(CheckpointError, match=path.name):
            checkpoint.load(path)


@pytest.mark.parametrize(("old", "new"), [('"thresholds":[0.3', '"thresholds":[0.4'), ('"seed":0', '"seed":1')])
def test_a_changed_digit_in_the_description_is_detected(path, old, new):
    content = path.read_bytes()
    old, new = (text.replace('"', '\\"').encode() for text in (old, new))  # JSON within JSON
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    with pytest.raises(CheckpointError, match=r"its settings are damaged \(SHA-256 differs\); use another copy"):
        checkpoint.load(path)


def with_header(path, change):
    """Let `change` edit the header and the description in it, and make the checksum of the description fit."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    description = json.loads(header["__metadata__"]["ecgmtl"])
    change(header, description)
    described = json.dumps(description)
    header["__metadata__"] = {"ecgmtl": described, "sha256": checkpoint.sha256(described.encode())}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


def with_description(path, **changes):
    with_header(path, lambda _, description: description.update(changes))


@pytest.mark.parametrize("kind", ["I32", "BF16"])
@pytest.mark.parametrize("described", [True, False])
def test_a_tensor_of_another_type_is_rejected(path, kind, described):
    def change(header, description):
        entry = next(entry for key, entry in header.items() if entry.get("dtype") == "F32" and "bias" in key)
        entry["dtype"] = kind
        if kind == "BF16":
            entry["shape"] = [2 * size for size in entry["shape"]]
        if not described:  # as an earlier ecgmtl wrote it
            del description["tensors"]

    with_header(path, change)
    said = r"damaged \(other types or shapes\)" if described else r"bias is \w+ of \d+, and should be float32 of \d+"
    with pytest.raises(CheckpointError, match=said):
        checkpoint.load(path)


def test_a_file_of_an_earlier_ecgmtl_without_types_is_read(path, stored):
    with_header(path, lambda _, description: description.pop("tensors"))
    assert checkpoint.load(path).label_names == stored.label_names


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "new"}, "invalid literal"),
        ({"config": 3}, "config: Input should be a valid dictionary"),
        ({"label_names": 3}, "label_names"),
        ({"label_names": []}, "label_names"),
        ({"label_names": ["SR", "SR"]}, "each once; found SR, SR"),
        ({"label_names": ["SR", "AFIB", "PACE"]}, "found 2 for 3 labels"),
        ({"calibration": {"slope": 1}}, "calibration"),
        ({"auxiliary_label_names": {"form": "a"}}, "auxiliary_label_names.form"),
        ({"auxiliary_label_names": {}}, "classification_form.* is not part of it"),
        ({"provenance": {"stage": 3}}, "provenance.stage"),
        ({"weights_sha256": None}, "weights_sha256"),
    ],
)
def test_a_description_with_a_value_of_another_kind_is_rejected(path, changes, said):
    with_description(path, **changes)
    with pytest.raises(CheckpointError, match=said):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "encoder", [{"widths": [10**6] * 2}, {"widths": [10**18]}, {"n_blocks": 10**9}, {"kernel_size": 10**9 + 1}]
)
def test_settings_of_a_huge_model_are_rejected_before_it_is_built(path, stored, encoder):
    tree = stored.config.model_dump(mode="json")
    with_description(path, config=tree | {"encoder": tree["encoder"] | encoder})
    with pytest.raises(CheckpointError, match="do not fit"):
        checkpoint.load(path)


def test_a_newer_version_is_rejected(path):
    with_description(path, version=checkpoint.VERSION + 1)
    with pytest.raises(CheckpointError, match=r"newer ecgmtl \(checkpoint 5, this one reads 4\); update ecgmtl"):
        checkpoint.load(path)


def test_unknown_settings_are_rejected(path):
    with_description(path, config={"sed": 1})
    with pytest.raises(CheckpointError, match="do not fit this ecgmtl"):
        checkpoint.load(path)


def test_a_file_cut_short_is_rejected(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut short"):
        checkpoint.load(path)


def test_a_pickle_is_rejected_and_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (type(tmp_path).touch, (tmp_path / "ran",))

    for name, load in (("a.safetensors", checkpoint.load), ("state.pt", load_state)):
        (tmp_path / name).write_bytes(pickle.dumps(Payload()))
        with pytest.raises(CheckpointError):
            load(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint.load(tmp_path / "none.safetensors")


def test_safetensors_of_another_program_are_rejected(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other\.safetensors: a safetensors file, but not one that ecgmtl wrote"):
        checkpoint.load(tmp_path / "other.safetensors")


def test_an_older_version_says_train_again(path):
    with_description(path, version=checkpoint.VERSION - 1)
    with pytest.raises(CheckpointError, match=r"an older ecgmtl .* train it again"):
        checkpoint.load(path)


def test_weights_of_another_size_are_rejected(path, stored):
    tree = stored.config.model_dump(mode="json")
    with_description(path, config={**tree, "encoder": {"kind": "cnn", "widths": [8, 9]}})
    with pytest.raises(CheckpointError, match="its weights do not fit its settings"):
        checkpoint.load(path)


def test_a_model_is_stored_as_plain_numbers_bit_for_bit(path, stored):
    kept = load_file(path)
    assert kept.keys() == stored.model.state_dict().keys()
    assert all(torch.equal(kept[name], value) for name, value in stored.model.state_dict().items())
    assert not checkpoint.load(path).model.training


def test_an_export_is_refused_as_what_it_is():
    with pytest.raises(CheckpointError, match="is an exported model; pass the run or the checkpoint"):
        checkpoint.load(BUNDLED_FILE)


def test_a_checkpoint_cannot_be_half_written(path, stored, monkeypatch):
    before = path.read_bytes()

    def fail(beside, content):
        with beside.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, stored)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
