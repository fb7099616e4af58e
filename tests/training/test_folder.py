from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ecgmtl import checkpoint
from ecgmtl.checkpoint import CheckpointError, model_file
from ecgmtl.config.parse import ConfigError
from ecgmtl.config.run import Config, load_config
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.run_files import MODEL
from ecgmtl.training.finished import finished_stage
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.history import EpochLine
from tests.models import untrained


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "runs/a", Config(seed=3), tmp_path / "data")


def test_a_run_stores_its_config_and_its_data_folder(folder, tmp_path):
    again = RunFolder.reopen(folder.path)
    assert again.config == Config(seed=3)
    assert again.data == tmp_path / "data"
    assert load_config(folder.path / "config.yaml") == Config(seed=3)


def test_a_run_has_its_name_when_opened_as_the_current_folder(folder, monkeypatch):
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


def test_a_folder_with_a_run_is_not_overwritten(folder):
    with pytest.raises(ConfigError, match=r"contains a run\. Resume it with --resume"):
        RunFolder.create(folder.path, Config(seed=4), folder.path)
    assert folder.config.seed == 3


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file/run: cannot be written"):
        RunFolder.create(tmp_path / "file/run", Config(), tmp_path)


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path):
    with pytest.raises(ConfigError, match=r"--resume .*: contains no run\. The folder of a run has a run\.json"):
        RunFolder.reopen(tmp_path)


def test_mlflow_ids_are_stored(folder):
    assert folder.tracked("joint") is None
    folder.note_tracked("joint", "abc")
    folder.note_tracked("decay", None)
    assert RunFolder.reopen(folder.path).tracked("joint") == "abc"
    assert folder.facts.tracked == {"joint": "abc", "decay": None}


def test_mlflow_ids_are_discarded_with_other_data_or_code(folder):
    assert not folder.keep_tracked_if("data code")
    folder.note_tracked("joint", "r1")
    assert not folder.keep_tracked_if("data code")
    assert folder.tracked("joint") == "r1"
    assert not folder.keep_tracked_if("data other")
    assert folder.tracked("joint") is None
    assert folder.keep_tracked_if("changed other")


def test_a_finished_stage_is_found_in_a_neighboring_run(folder):
    stored = untrained(CnnSettings(widths=(8,)))
    path = folder.stage(0, "pretrain") / MODEL
    checkpoint.save(path, replace(stored, provenance={"stage_key": "k1"}))
    beside = folder.path.parent / "b"
    assert finished_stage("k1", beside) == path
    assert finished_stage("k1", folder.path) == path
    assert finished_stage("k2", beside) is None
    assert finished_stage("k1", folder.path / "elsewhere/c") is None


def test_a_failed_start_is_removed_and_a_started_run_is_kept(folder):
    folder.history.append(EpochLine("pretrain", 0, 3, 5, 1.0, {}))
    state = folder.stage(0, "pretrain") / "state.pt"
    state.touch()
    folder.remove_unless_begun()
    assert state.is_file()
    state.unlink()
    (folder.path / "mine").touch()
    folder.remove_unless_begun()
    assert [path.name for path in folder.path.iterdir()] == ["mine"]


def test_a_run_keeps_the_threads_it_started_with(folder):
    assert folder.computes_as({"threads": 2}) == {"threads": 2}
    assert RunFolder.reopen(folder.path).computes_as({"threads": 1}) == {"threads": 2}


def test_a_run_of_an_earlier_version_is_continued_with_the_versions_of_now(folder):
    folder.update_facts(computes={"threads": 2})
    start = folder.computes_as({"threads": 1, "versions": "torch 2"})
    assert start == folder.facts.computes == {"threads": 2, "versions": "torch 2"}


def test_a_damaged_stage_is_not_reused(folder):
    path = folder.stage(0, "pretrain") / MODEL
    checkpoint.save(path, replace(untrained(CnnSettings(widths=(8,))), provenance={"stage_key": "k1"}))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert finished_stage("k1", folder.path) is None


def test_a_run_folder_stands_for_its_model(folder, tmp_path):
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
def test_a_damaged_run_is_refused_with_its_name_and_a_remedy(folder, text):
    (folder.path / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=r"run\.json: .*; restore a copy of it, or train again with another --out"):
        _ = RunFolder.reopen(folder.path).data
