"""Files of training states: any damage is noticed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgmtl.checkpoint import CheckpointError
from ecgmtl.training.state_file import load_state, save_state


def test_damage_to_a_training_state_is_detected(tmp_path):
    path = tmp_path / "state.pt"
    save_state(path, {"weights": torch.randn(1000), "epoch": 3})
    assert load_state(path)["epoch"] == 3
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(path)


@given(offset=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=80, deadline=None)
def test_a_flipped_bit_of_a_state_is_detected_or_changes_nothing(state_file, offset, bit):
    path, content, state = state_file
    damaged = bytearray(content)
    damaged[offset % len(content)] ^= 1 << bit
    path.write_bytes(bytes(damaged))
    try:
        loaded = load_state(path)
    except CheckpointError:
        return
    assert loaded["epoch"] == state["epoch"]  # a date of the archive, say
    assert torch.equal(loaded["weights"], state["weights"])


@pytest.fixture(scope="module")
def state_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "state.pt"
    state = {"weights": torch.arange(50.0), "epoch": 3}
    save_state(path, state)
    return path, path.read_bytes(), state


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_state_cut_short_is_rejected(tmp_path, share):
    path = tmp_path / "state.pt"
    save_state(path, {"weights": torch.randn(100)})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="delete it to train the stage again"):
        load_state(path)
