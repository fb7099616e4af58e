import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import psutil
import pytest

from ecgmtl.inference.torch_predictors import copy_model
from ecgmtl.tracking import names
from ecgmtl.tracking.mlflow_tracker import flatten
from ecgmtl.tracking.models import require_model_name
from ecgmtl.tracking.store import default_store, import_mlflow, origin_tags
from ecgmtl.tracking.tracker import Tracker, TrackingError, open_tracker
from ecgmtl.tracking.ui import server, stop, wait_until_it_answers
from tests.places import free_port

NOTHING = {"tags": {}, "params": {}}


@pytest.fixture
def store(migrated, tmp_path, monkeypatch):
    """A client of an empty store in the working folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(migrated, "mlflow.db")
    return import_mlflow().MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


def runs(client):
    experiment = client.get_experiment_by_name("ecgmtl")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def history(client, name, metric):
    return [(m.step, m.value) for m in client.get_metric_history(runs(client)[name].info.run_id, metric)]


def test_stages_are_nested_in_their_schedule(store):
    tracker = open_tracker("ecgmtl")
    with (
        tracker.run("quick", tags={"seed": "0"}, params={"a": {"b": [1, 2]}}, note="# Note") as parent,
        tracker.run("joint", tags={"stage": "joint"}, params={}) as child,
    ):
        assert tracker.active_run_id == child
    assert tracker.active_run_id is None
    logged = runs(store)
    assert logged["joint"].data.tags["mlflow.parentRunId"] == parent == logged["quick"].info.run_id
    assert logged["quick"].data.params == {"a.b": "[1, 2]"}
    assert logged["quick"].data.tags["mlflow.note.content"] == "# Note"
    assert {run.info.status for run in logged.values()} == {"FINISHED"}


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")]
)
def test_a_run_logs_how_it_ended_and_raises_the_error(store, error, status):
    tracker = open_tracker("ecgmtl")
    with pytest.raises(error), tracker.run("quick", **NOTHING), tracker.run("joint", **NOTHING):
        raise error("no good")
    assert [run.info.status for run in runs(store).values()] == [status, status]
    message = runs(store)["joint"].data.tags.get("error")
    assert message == ("ValueError: no good" if status == "FAILED" else None)


def test_steps_of_a_stage_are_also_logged_to_the_schedule_on_its_own_axis(store):
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING), tracker.run("joint", **NOTHING):
        tracker.log_steps({"train/loss": np.array([3.0, np.nan, 1.0], dtype=np.float32)}, 10, 100)
        tracker.log_metrics({"validation/auc": 0.5, "validation/bad": float("inf")}, 12, 100)
        tracker.log_metrics({"only/here": 1.0}, 12)
    assert history(store, "joint", "train/loss") == [(10, 3.0), (12, 1.0)]
    assert history(store, "quick", "train/loss") == [(110, 3.0), (112, 1.0)]
    assert history(store, "quick", "validation/auc") == [(112, 0.5)]
    assert set(runs(store)["quick"].data.metrics) == {"train/loss", "validation/auc"}


def test_more_metrics_than_fit_into_one_call_all_arrive(store, rng):
    values = rng.normal(size=2_345)
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING):
        tracker.log_steps({"train/loss": values}, 0)
    assert [value for _, value in history(store, "quick", "train/loss")] == values.tolist()


def test_a_resumed_run_adds_only_new_steps(store):
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", tags={}, params={"epochs": 3}) as first:
        tracker.log_steps({"train/loss": np.arange(5.0)}, 0)
    store.set_terminated(first, "KILLED")
    with open_tracker("ecgmtl").run(
        "quick", tags={"again": "yes"}, params={"epochs": 9, "new": 1}, resume=first
    ) as id_:
        assert id_ == first
        assert runs(store)["quick"].info.status == "RUNNING"
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING, resume=first):
        tracker.log_steps({"train/loss": np.arange(3.0, 8.0)}, 3)
    assert history(store, "quick", "train/loss") == [(i, float(i)) for i in range(8)]
    run = runs(store)["quick"]
    assert (run.info.status, run.data.params, run.data.tags["again"]) == (
        "FINISHED",
        {"epochs": "3", "new": "1"},
        "yes",
    )


def test_additions_to_a_finished_run_change_neither_its_end_nor_its_origin(store, monkeypatch):
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING) as first:
        pass
    before = store.get_run(first)
    monkeypatch.setattr("sys.argv", ["/bin/ecgmtl", "evaluate"])
    time.sleep(0.01)
    with pytest.raises(ValueError, match="no good"), tracker.run("again", **NOTHING, resume=first):
        raise ValueError("no good")
    after = store.get_run(first)
    assert (after.info.status, after.info.end_time) == ("FINISHED", before.info.end_time)
    assert after.data.tags["command"] == before.data.tags["command"] != "ecgmtl evaluate"


def test_a_run_has_the_command_that_started_it(store, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/some/bin/ecgmtl", "train", "--config", "my quick.yaml"])
    with open_tracker("ecgmtl").run("quick", **NOTHING) as run_id:
        pass
    tags = store.get_run(run_id).data.tags
    assert tags["command"] == "ecgmtl train --config 'my quick.yaml'"
    assert tags["mlflow.source.name"] == "ecgmtl train"


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


def test_a_run_that_no_longer_exists_is_logged_as_a_new_one(store, caplog):
    with open_tracker("ecgmtl").run("quick", **NOTHING, resume="0" * 32) as run_id:
        assert run_id is not None
        assert run_id != "0" * 32
    assert "no longer exists" in caplog.text


def test_files_and_folders_are_logged(store):
    Path("report").mkdir()
    Path("report/a.md").write_text("a")
    Path("config.yaml").write_text("seed: 0")
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING) as run_id:
        tracker.log_artifact(Path("report"))
        tracker.log_artifact(Path("config.yaml"))
        tracker.log_artifact(Path("config.yaml"), "inputs")
    names = {item.path for folder in ("", "report", "inputs") for item in store.list_artifacts(run_id, folder)}
    assert names == {"report", "report/a.md", "config.yaml", "inputs", "inputs/config.yaml"}


@pytest.fixture
def model():
    """The folder of a model that MLflow takes."""
    Path("model").mkdir()
    Path("model/MLmodel").write_text("flavors: {}\n")
    return Path("model")


def log_classifier(tracker, model, **resumed):
    with tracker.run("quick", **NOTHING, **resumed) as run_id:
        tracker.log_input("ptbxl", "ab" * 32, "data/ptbxl", {"train": 8, "validation": 1})
        tracker.log_model(
            model, "classifier", "It predicts **labels**.", {"labels": "NORM, MI", "sampling_rate_hz": 100}
        )
        tracker.log_final({"final validation macro_auroc": 0.9, "final validation mcc": float("nan")})
    return run_id


def logged_model(store, run_id):
    (output,) = store.get_run(run_id).outputs.model_outputs
    return store.get_logged_model(output.model_id)


def test_a_logged_model_has_a_description_and_facts(store, model):
    logged = logged_model(store, log_classifier(open_tracker("ecgmtl"), model))
    assert (logged.name, logged.status) == ("classifier", "READY")
    assert logged.tags["mlflow.note.content"] == "It predicts **labels**."
    assert logged.params == {"labels": "NORM, MI", "sampling_rate_hz": "100"}


def test_scores_of_a_model_name_the_data_set_that_they_were_measured_on(store, model):
    run_id = log_classifier(open_tracker("ecgmtl"), model)
    (data,) = store.get_run(run_id).inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("ptbxl", "ab" * 6)
    assert data.dataset.profile == '{"train_records": 8, "validation_records": 1}'
    (score,) = logged_model(store, run_id).metrics
    assert (score.key, score.value) == ("final validation macro_auroc", 0.9)
    assert (score.dataset_name, score.dataset_digest) == ("ptbxl", "ab" * 6)
    assert store.get_run(run_id).data.metrics == {"final validation macro_auroc": 0.9}


def test_a_later_evaluation_adds_its_scores_to_the_model(store, model):
    run_id = log_classifier(open_tracker("ecgmtl"), model)
    tracker = open_tracker("ecgmtl")
    with tracker.run("again", **NOTHING, resume=run_id):
        tracker.log_input("hospital", "cd" * 32, "data/hospital", {"test": 5})
        tracker.log_final({"final test whole macro_auroc": 0.8})
    scores = {metric.key: (metric.value, metric.dataset_name) for metric in logged_model(store, run_id).metrics}
    assert scores == {
        "final validation macro_auroc": (0.9, "ptbxl"),
        "final test whole macro_auroc": (0.8, "hospital"),
    }


def test_a_registered_model_has_the_alias_and_a_description(store, model):
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING) as run_id:
        tracker.log_model(model, "classifier", "It predicts **labels**.", {})
        assert tracker.register_model("ecg-classifier") == "models:/ecg-classifier@champion"
    version = store.get_model_version_by_alias("ecg-classifier", "champion")
    assert (str(version.version), version.run_id) == ("1", run_id)
    assert version.description == "It predicts **labels**."
    versions = json.loads(logged_model(store, run_id).tags["mlflow.modelVersions"])
    assert [str(entry["version"]) for entry in versions if entry["name"] == "ecg-classifier"] == ["1"]
    assert "12-lead ECGs" in store.get_registered_model("ecg-classifier").description
    with default_store():
        assert Path(copy_model("models:/ecg-classifier@champion", Path("copy")), "MLmodel").is_file()


def test_the_alias_moves_to_a_new_model_and_no_model_is_registered_twice(store, model):
    ids = [log_classifier(open_tracker("ecgmtl"), model) for _ in range(2)]
    champions = []
    for run_id in (*ids, ids[0]):
        tracker = open_tracker("ecgmtl")
        with tracker.run("quick", **NOTHING, resume=run_id):
            tracker.register_model("ecg-classifier")
        champions.append(store.get_model_version_by_alias("ecg-classifier", "champion").run_id)
    assert champions == [*ids, ids[0]]
    assert len(store.search_model_versions("name = 'ecg-classifier'")) == 2


def test_a_run_without_a_model_registers_nothing(store):
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING):
        assert tracker.register_model("ecg-classifier") is None
    assert store.search_registered_models() == []


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "it's", ".", "a@b"])
def test_a_name_that_mlflow_cannot_register_is_refused(name):
    with pytest.raises(TrackingError, match=r"--register .* for example --register ecg-classifier"):
        require_model_name(name)


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


def break_file(path):
    path.write_bytes(b"no database" * 1000)


def remove_file(path):
    path.unlink()


def remove_tables(path):
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE metrics")
    connection.close()


@pytest.mark.parametrize("harm", [break_file, remove_file, remove_tables])
def test_a_store_that_breaks_during_a_run_gives_one_warning_and_stops_nothing(store, tmp_path, caplog, harm):
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING), tracker.run("joint", **NOTHING):
        harm(tmp_path / "mlflow.db")
        for step in range(20):
            tracker.log_metrics({"train/loss": 1.0}, step, 0)
        tracker.set_tags({"a": "b"})
    messages = [record.message for record in caplog.records if record.name == "ecgmtl"]
    assert len(messages) == 2, messages
    assert "Training continues" in messages[0]
    assert "were lost" in messages[1]


def test_figures_that_a_locked_store_refused_arrive_later(store, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("ecgmtl.tracking.outbox.SHORTEST_PAUSE", 0.0)
    monkeypatch.setattr("ecgmtl.tracking.outbox.PAUSE_RATIO", 0.0)
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING):
        Path("mlflow.db").rename("away.db")
        Path("mlflow.db").mkdir()
        tracker.log_metrics({"train/loss": 1.0}, 0)
        tracker.log_metrics({"train/loss": 2.0}, 1)
        Path("mlflow.db").rmdir()
        Path("away.db").rename("mlflow.db")
        tracker.log_metrics({"train/loss": 3.0}, 2)
    assert history(store, "quick", "train/loss") == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert [r.levelno for r in caplog.records if r.name == "ecgmtl"] == [logging.WARNING]


@pytest.mark.slow
def test_a_server_that_dies_costs_seconds_and_stops_no_training(store, tmp_path, monkeypatch, caplog):
    address = f"http://127.0.0.1:{free_port()}"
    with TemporaryFile() as output, server(f"sqlite:///{tmp_path}/mlflow.db", address, output) as process:
        wait_until_it_answers(address, process, output)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        tracker = open_tracker("ecgmtl")
        Path("config.yaml").write_text("seed: 0")
        with tracker.run("quick", tags={}, params={"a": 1}):
            tracker.log_metrics({"train/loss": 1.0}, 0)
            tracker.log_artifact(Path("config.yaml"))
            stop(process)
            began = time.monotonic()
            for step in range(1, 100):
                tracker.log_metrics({"train/loss": 1.0}, step)
        assert time.monotonic() - began < 20
    messages = [record.message for record in caplog.records if record.name == "ecgmtl"]
    assert [("Training continues" in line, "were lost" in line) for line in messages] == [(True, False), (False, True)]
    assert history(store, "quick", "train/loss") == [(0, 1.0)]


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


def test_a_read_only_store_is_an_error_before_training(store, tmp_path):
    open_tracker("ecgmtl")
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    connection.close()
    with pytest.raises(TrackingError, match="disk full"), open_tracker("ecgmtl").run("quick", **NOTHING):
        pass


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


def test_both_trackers_have_the_same_interface(store):
    off = open_tracker("ecgmtl", enabled=False)
    assert isinstance(off, Tracker)
    assert isinstance(open_tracker("ecgmtl"), Tracker)
    with off.run("quick", **NOTHING) as run_id:
        off.log_metrics({"a": 1.0}, 0)
        off.log_steps({"a": np.zeros(3)}, 0, 1)
        off.log_artifact(Path("nowhere"))
    assert run_id is None
    assert store.search_runs(["0"]) == []


def test_nested_settings_are_flattened_to_dotted_names():
    tree = {
        "name": "quick",
        "lr": 1e-3,
        "on": True,
        "none": None,
        "stages": [{"kind": "a"}, {"betas": (0.9, 0.99)}],
        "empty": {},
    }
    assert flatten(tree) == {
        "name": "quick",
        "lr": "0.001",
        "on": "true",
        "none": "null",
        "stages.0.kind": "a",
        "stages.1.betas": "[0.9, 0.99]",
        "empty": "{}",
    }


def test_an_announced_metric_comes_first_and_its_value_later(store):
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING) as first:
        tracker.announce("final validation macro_auroc")
        tracker.log_metrics({"a/loss": 1.0}, 0)
        assert list(store.get_run(first).data.metrics) == ["final validation macro_auroc", "a/loss"]
        tracker.log_final({"final validation macro_auroc": 0.9})
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING, resume=first):
        tracker.announce("final validation macro_auroc")
    assert list(runs(store)["quick"].data.metrics.items()) == [("final validation macro_auroc", 0.9), ("a/loss", 1.0)]


def test_final_figures_are_those_of_the_last_evaluation(store):
    with open_tracker("ecgmtl").run("quick", **NOTHING) as first:
        pass
    for figures in ({"final auroc": 0.9}, {"final auroc": 0.8, "final rmse": 0.1}):
        tracker = open_tracker("ecgmtl")
        with tracker.run("quick", **NOTHING, resume=first):
            tracker.log_final(figures)
    assert runs(store)["quick"].data.metrics == {"final auroc": 0.8, "final rmse": 0.1}


def test_a_model_whose_files_are_gone_is_not_logged(store, caplog):
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING) as run_id:
        tracker.log_model(Path("gone"), "classifier", "a classifier", {})
    assert not store.get_run(run_id).outputs.model_outputs
    assert "1 entries were lost" in caplog.text


def test_a_model_that_is_logged_while_mlflow_is_away_arrives_later(store, model, monkeypatch):
    def away(*_, **__):
        raise ConnectionError("away")

    tracker, logged = open_tracker("ecgmtl"), []
    with tracker.run("quick", **NOTHING) as run_id:
        with monkeypatch.context() as patched:
            patched.setattr(type(store), "create_logged_model", away)
            tracker.log_model(model, "classifier", "a classifier", {}, lambda: logged.append(run_id))
        shutil.rmtree(model)
        assert logged == []
    assert logged == [run_id]
    assert logged_model(store, run_id).status == "READY"


def test_mlflow_shows_losses_and_weights_first_then_diagnostics_then_final_figures():
    steps = ["gradient.conflict_null.latent", "log_var.latent", "gradient_norm", "weight.latent", "lr", "loss.latent"]
    figures = [names.final("validation", names.MACRO_AUROC), names.validation(names.MACRO_AUROC)]
    groups = {name: name.rpartition("/")[0] for name in [*map(names.train, steps), *figures]}
    shown = sorted(groups, key=lambda name: (not groups[name], groups[name], name))  # as MLflow orders its charts
    assert shown == [
        "train/loss.latent",
        "train/lr",
        "train/weight.latent",
        "train gradients/conflict_null.latent",
        "train gradients/norm",
        "train weighting/log_var.latent",
        "validation/macro_auroc",
        "final validation macro_auroc",
    ]
