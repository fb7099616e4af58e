"""The history of a run: lines that are written, removed and refused."""

from contextlib import nullcontext

import pytest

from ecgmtl.config.parse import ConfigError
from ecgmtl.training.history import EpochLine, History


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "history.jsonl")


def line(stage, epoch):
    return EpochLine(stage, epoch, 3, 96, 1.5, {"train/loss.reconstruction": 0.5 / (epoch + 1)})


def test_the_history_is_read_in_order(history):
    assert history.read() == []
    lines = [line("pretrain", 0), line("pretrain", 1), line("joint", 0)]
    for one in lines:
        history.append(one)
    assert history.read() == lines


def test_rewinding_removes_the_epochs_that_are_trained_again(history):
    for one in [line("pretrain", 0), line("pretrain", 1), line("joint", 0), line("joint", 1), line("joint", 2)]:
        history.append(one)
    history.rewind("joint", 1)
    assert history.read() == [line("pretrain", 0), line("pretrain", 1), line("joint", 0)]


def test_an_incomplete_last_line_is_ignored(history):
    history.append(line("joint", 0))
    with history.path.open("a") as file:
        file.write('{"stage": "joint", "ep')
    history.rewind("joint", 1)
    history.append(line("joint", 1))
    assert history.read() == [line("joint", 0), line("joint", 1)]


def test_a_history_that_was_emptied_or_cut_off_is_refused_and_a_deleted_one_is_not(history):
    whole = [line("pretrain", 0), line("joint", 0), line("joint", 1)]
    for text, n_epochs, sound in (("", 1, False), (whole[:2], 2, False), (whole, 2, True), (whole, 1, True)):
        history.path.write_text("".join(one.to_json() + "\n" for one in text))
        refused = pytest.raises(ConfigError, match=rf"lacks epoch {n_epochs} of stage 'joint', which.*; restore a copy")
        with nullcontext() if sound else refused:
            history.rewind("joint", n_epochs)
    history.path.unlink()
    history.rewind("joint", 2)
    assert not history.path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "3",
        '{"stage": "a", "epoch": 0, "loss": 1.0}',
        line("a", 0).to_json().replace('"a"', "1"),
        line("a", 0).to_json().replace("0.5", '"x"'),
        "\udcff",
    ],
)
def test_a_damaged_history_line_is_refused_with_a_remedy(history, text):
    history.append(line("joint", 0))
    with history.path.open("ab") as file:
        file.write(text.encode(errors="surrogateescape") + b"\n")
    with pytest.raises(ConfigError, match=r"history\.jsonl.*; delete the file to continue without the curves"):
        history.read()
