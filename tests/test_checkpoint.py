import json
import pickle
import struct

import pytest
import torch

from ecgmtl import checkpoint
from ecgmtl.calibration import Calibration
from ecgmtl.checkpoint import Checkpoint, CheckpointError
from ecgmtl.config import Config
from ecgmtl.encoders.cnn import CnnSettings
from ecgmtl.files import write_whole


@pytest.fixture
def stored():
    config = Config(encoder=CnnSettings(widths=(8, 8)), auxiliary_labels="form")
    model = config.build_model(2, 3).eval()
    calibration = Calibration(slope=(1.5, 2.0), intercept=(0.1, 0.2), thresholds=(0.3, 0.4))
    return Checkpoint(model, config, "rhythm", ("SR", "AFIB"), calibration, ("a", "b", "c"), {"stage": "joint"})


@pytest.fixture
def path(stored, tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, stored)
    return path


def test_a_model_comes_back_as_it_was(stored, path):
    loaded = checkpoint.load(path)
    signals = torch.randn(2, 12, 300)
    assert torch.equal(loaded.model.classify(signals), stored.model.classify(signals))
    assert (loaded.config, loaded.label_names, loaded.calibration) == (
        stored.config,
        stored.label_names,
        stored.calibration,
    )
    assert loaded.provenance == stored.provenance


def test_every_flipped_bit_is_found(path):
    content = path.read_bytes()
    for place in torch.randint(8, len(content), (40,), generator=torch.Generator().manual_seed(0)).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(bytes(damaged))
        with pytest.raises(CheckpointError, match=path.name):
            checkpoint.load(path)


def with_description(path, **changes):
    """The file with other facts in its description, its checksum made to fit."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    description = json.dumps(json.loads(header["__metadata__"]["ecgmtl"]) | changes)
    header["__metadata__"] = {"ecgmtl": description, "sha256": checkpoint.sha256(description.encode())}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


def test_a_newer_version_is_refused(path):
    with_description(path, version=3)
    with pytest.raises(CheckpointError, match=r"newer ecgmtl \(checkpoint 3, this one reads 1\); update ecgmtl"):
        checkpoint.load(path)


def test_settings_of_another_time_are_refused(path):
    with_description(path, config={"sed": 1})
    with pytest.raises(CheckpointError, match="do not fit this ecgmtl"):
        checkpoint.load(path)


def test_a_file_cut_short_is_refused(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut short"):
        checkpoint.load(path)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (type(tmp_path).touch, (tmp_path / "ran",))

    for name, load in (("a.safetensors", checkpoint.load), ("state.pt", checkpoint.load_state)):
        (tmp_path / name).write_bytes(pickle.dumps(Payload()))
        with pytest.raises(CheckpointError):
            load(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint.load(tmp_path / "none.safetensors")


def test_damage_to_a_training_state_is_found(tmp_path):
    path = tmp_path / "state.pt"
    checkpoint.save_state(path, {"weights": torch.randn(1000), "epoch": 3})
    assert checkpoint.load_state(path)["epoch"] == 3
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load_state(path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_whole(path, lambda beside: beside.write_text("old"))

    def fail(beside):
        beside.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
