import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ecgmtl.inference.torch_predictors import copy_model
from ecgmtl.tracking.store import default_store, import_mlflow, origin_tags
from ecgmtl.tracking.tracker import TrackingError, open_tracker
from tests.tracked import NOTHING, history, runs


def test_a_user_without_a_login_name_still_has_a_tag(monkeypatch):
    def getuser():
        raise ImportError("pwd")

    monkeypatch.setattr("getpass.getuser", getuser)
    assert origin_tags()["mlflow.user"]


def test_a_folder_may_have_any_name(migrated, tmp_path, monkeypatch):
    folder = tmp_path / "a%20b #1 50% R&D a+b what? (2) [x] Übung 心電図"
    folder.mkdir()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(folder)
    shutil.copy(migrated, "mlflow.db")
    Path("config.yaml").write_text("seed: 0")
    Path("model").mkdir()
    Path("model/MLmodel").write_text("flavors: {}\n")
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING) as run_id:
        tracker.log_artifact(Path("config.yaml"))
        tracker.log_model(Path("model"), "classifier", "a classifier", {})
    (kept,) = Path("mlruns").rglob("config.yaml")
    assert kept.read_text() == "seed: 0"
    with default_store():
        assert Path(copy_model(f"runs:/{run_id}/classifier", Path("copy")), "MLmodel").is_file()
    assert sqlite3.connect("mlflow.db").execute("SELECT name FROM runs").fetchall() == [("quick",)]
    assert list(tmp_path.iterdir()) == [folder]


def test_runs_of_a_process_that_died_are_marked_killed(store):
    tracker = open_tracker("ecgmtl")
    gone = {"pid": "999999", "process_started": "0"}
    reused = {"process_started": f"{psutil.Process().create_time() - 3600:.0f}"}
    for name, tags in {"gone": gone, "reused": reused, "elsewhere": gone | {"host": "another"}, "alive": {}}.items():
        with tracker.run(name, tags=tags, params={}) as run_id:
            pass
        store.update_run(run_id, status="RUNNING")
    open_tracker("ecgmtl")
    status = {name: run.info.status for name, run in runs(store).items()}
    assert status == {"gone": "KILLED", "reused": "KILLED", "elsewhere": "RUNNING", "alive": "RUNNING"}


@pytest.mark.slow
def test_processes_share_one_store_that_does_not_exist_at_first(store):
    uri = f"sqlite:///{Path.cwd()}/new.db"
    script = """
import sys, numpy as np
from ecgmtl.tracking.tracker import open_tracker
tracker = open_tracker("ecgmtl")
with tracker.run(sys.argv[1], tags={}, params={}):
    for step in range(50):
        tracker.log_metrics({"a": 1.0, "b": 2.0}, step)
"""
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "MLFLOW_TRACKING_URI": uri}
    started = [subprocess.Popen([*command, str(i)], env=environment, stderr=subprocess.PIPE) for i in range(2)]
    assert [process.communicate()[1] for process in started] == [b""] * 2
    client = import_mlflow().MlflowClient(uri)
    assert {len(history(client, str(i), name)) for i in range(2) for name in "ab"} == {50}


def test_an_unreachable_store_is_an_error_before_training(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(TrackingError, match=r"http://127.0.0.1:9: runs cannot be logged .*Start the server") as raised:
        open_tracker("ecgmtl")
    assert "secret" not in str(raised.value)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("uri", ["file:mlruns", "ftp://nowhere", "sqlite:////proc/nowhere/mlflow.db"])
def test_a_store_of_a_wrong_kind_is_refused(store, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"):
        open_tracker("ecgmtl")


def test_an_old_file_store_is_refused_by_name(store):
    Path("mlruns/0").mkdir(parents=True)
    Path("mlruns/0/meta.yaml").write_text("")
    with pytest.raises(TrackingError, match=r"mlruns/0/meta.yaml: .*migrate-filestore"):
        open_tracker("ecgmtl")


def test_a_deleted_experiment_is_not_written_to(store):
    open_tracker("ecgmtl")
    store.delete_experiment(store.get_experiment_by_name("ecgmtl").experiment_id)
    with pytest.raises(TrackingError, match="mlflow experiments restore"):
        open_tracker("ecgmtl")


def test_an_existing_note_of_an_experiment_is_kept(store):
    open_tracker("ecgmtl")
    id_ = store.get_experiment_by_name("ecgmtl").experiment_id
    store.set_experiment_tag(id_, "mlflow.note.content", "mine")
    open_tracker("ecgmtl")
    assert store.get_experiment(id_).tags["mlflow.note.content"] == "mine"
