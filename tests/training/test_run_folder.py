from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ecgmtl import checkpoint
from ecgmtl.checkpoint import MODEL, CheckpointError, model_file
from ecgmtl.config.run import Config, ConfigError, load_config
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.training.folder import RunFolder, finished_stage
from tests.models import untrained


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "runs/a", Config(seed=3), tmp_path / "data")


def line(stage, epoch):
    return {"stage": stage, "epoch": epoch, "loss": 0.5 / (epoch + 1)}


def test_a_run_keeps_its_config_and_its_data(folder, tmp_path):
    again = RunFolder.reopen(folder.path)
    assert again.config == Config(seed=3)
    assert again.data == tmp_path / "data"
    assert load_config(folder.path / "config.yaml") == Config(seed=3)


def test_a_run_is_known_by_its_name_from_within(folder, monkeypatch):
    stored = untrained(CnnSettings(widths=(8,)))
    path = folder.stage(0, "pretrain") / MODEL
    checkpoint.save(path, replace(stored, provenance={"stage_key": "k1"}))
    monkeypatch.chdir(folder.path)
    here = RunFolder.reopen(Path())
    assert here.path.name == "a"
    assert finished_stage("k1", here.path) == path


def test_a_run_is_named_after_its_config_and_the_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = RunFolder.create(None, Config(name="joint"), tmp_path).path
    stamp = datetime.strptime(path.name.removeprefix("joint-"), "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    assert path.parent.name == "runs"
    assert abs((datetime.now(UTC) - stamp).total_seconds()) < 60


def test_a_folder_with_a_run_is_not_written_over(folder):
    with pytest.raises(ConfigError, match=r"contains a run\. Resume it with --resume"):
        RunFolder.create(folder.path, Config(seed=4), folder.path)
    assert folder.config.seed == 3


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file/run: cannot be written"):
        RunFolder.create(tmp_path / "file/run", Config(), tmp_path)


def test_what_is_no_run_cannot_go_on(tmp_path):
    with pytest.raises(ConfigError, match=r"--resume .*: contains no run\. The folder of a run has a run\.json"):
        RunFolder.reopen(tmp_path)


def test_ids_of_tracked_runs_are_remembered(folder):
    assert folder.tracked("joint") is None
    folder.note_tracked("joint", "abc")
    folder.note_tracked("decay", None)
    assert RunFolder.reopen(folder.path).tracked("joint") == "abc"
    assert folder.facts["tracked"] == {"joint": "abc", "decay": None}


def test_ids_of_runs_of_other_data_or_code_are_forgotten(folder):
    folder.keep_tracked_if("data code")
    folder.note_tracked("joint", "r1")
    folder.keep_tracked_if("data code")
    assert folder.tracked("joint") == "r1"
    folder.keep_tracked_if("data other")
    assert folder.tracked("joint") is None


def test_history_comes_back_in_order(folder):
    assert folder.read_history() == []
    lines = [line("pretrain", 0), line("pretrain", 1), line("joint", 0)]
    for one in lines:
        folder.append(one)
    assert folder.read_history() == lines


def test_rewinding_forgets_the_epochs_that_are_done_again(folder):
    for one in [line("pretrain", 0), line("pretrain", 1), line("joint", 0), line("joint", 1), line("joint", 2)]:
        folder.append(one)
    folder.rewind("joint", 1)
    assert folder.read_history() == [line("pretrain", 0), line("pretrain", 1), line("joint", 0)]


def test_half_a_line_of_a_killed_process_is_forgotten(folder):
    folder.append(line("joint", 0))
    with folder.history.open("a") as file:
        file.write('{"stage": "joint", "ep')
    folder.rewind("joint", 1)
    folder.append(line("joint", 1))
    assert folder.read_history() == [line("joint", 0), line("joint", 1)]


def test_a_finished_stage_is_found_in_a_run_beside(folder):
    stored = untrained(CnnSettings(widths=(8,)))
    path = folder.stage(0, "pretrain") / MODEL
    checkpoint.save(path, replace(stored, provenance={"stage_key": "k1"}))
    beside = folder.path.parent / "b"
    assert finished_stage("k1", beside) == path
    assert finished_stage("k1", folder.path) == path
    assert finished_stage("k2", beside) is None
    assert finished_stage("k1", folder.path / "elsewhere/c") is None


def test_a_start_that_failed_leaves_nothing_and_a_run_that_has_begun_stays(folder):
    folder.append(line("pretrain", 0))
    state = folder.stage(0, "pretrain") / "state.pt"
    state.touch()
    folder.remove_unless_begun()
    assert state.is_file()
    state.unlink()
    (folder.path / "mine").touch()
    folder.remove_unless_begun()
    assert [path.name for path in folder.path.iterdir()] == ["mine"]


def test_a_run_computes_as_it_began(folder):
    assert folder.computes_as({"threads": 2}) == {"threads": 2}
    assert RunFolder.reopen(folder.path).computes_as({"threads": 1}) == {"threads": 2}


def test_a_damaged_stage_is_not_taken(folder):
    path = folder.stage(0, "pretrain") / MODEL
    checkpoint.save(path, replace(untrained(CnnSettings(widths=(8,))), provenance={"stage_key": "k1"}))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert finished_stage("k1", folder.path) is None


def test_the_model_of_a_run_is_found_by_its_folder(folder, tmp_path):
    assert model_file(tmp_path) == tmp_path
    with pytest.raises(CheckpointError, match=r"not finished.* ecgmtl train --resume .*runs/a$"):
        model_file(folder.path)
    stage = folder.stage(0, "pretrain") / MODEL
    stage.touch()
    with pytest.raises(CheckpointError, match=rf"finished stages have models, too: {stage}$"):
        model_file(folder.path)
    (folder.path / MODEL).touch()
    assert model_file(folder.path) == model_file(folder.path / MODEL) == folder.path / MODEL


@pytest.mark.parametrize(
    "text", ["", "{", "3", "[" * 100_000, '{"data": 7, "tracked": {}}', '{"data": "x", "tracked": {"a": 1}}', "\udcff"]
)
def test_a_damaged_run_is_refused_by_name_with_what_to_do(folder, text):
    (folder.path / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=r"run\.json: .*; restore a copy of it, or train again with another --out"):
        _ = RunFolder.reopen(folder.path).data


@pytest.mark.parametrize(
    "text", ["{", "3", '{"stage": 1, "epoch": 0}', '{"stage": "a", "epoch": 0, "loss": "x"}', "\udcff"]
)
def test_a_damaged_line_of_the_history_is_refused_with_what_to_do(folder, text):
    folder.append(line("joint", 0))
    with folder.history.open("ab") as file:
        file.write(text.encode(errors="surrogateescape") + b"\n")
    with pytest.raises(ConfigError, match=r"history\.jsonl.*; delete the file to continue without the curves"):
        folder.read_history()
