import logging
import os
import shutil
import signal
import sqlite3
import time
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest
from mlflow import MlflowClient

from ecgmtl.tracking.mlflow_tracker import flatten
from ecgmtl.tracking.tracker import TrackingError, open_tracker
from ecgmtl.tracking.ui import server, stop, wait_until_it_answers
from tests.places import free_port
from tests.tracked import NOTHING, history, log_classifier, logged_model, runs


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


@pytest.mark.parametrize("name", ["quick", "joint"])
def test_a_run_that_is_interrupted_while_it_is_created_is_killed(store, monkeypatch, name):
    create = MlflowClient.create_run

    def create_interrupted(client, *arguments, run_name, **others):
        if run_name == name:
            os.kill(os.getpid(), signal.SIGINT)
        return create(client, *arguments, run_name=run_name, **others)

    monkeypatch.setattr(MlflowClient, "create_run", create_interrupted)
    tracker = open_tracker("ecgmtl")
    with pytest.raises(KeyboardInterrupt), tracker.run("quick", **NOTHING), tracker.run("joint", **NOTHING):
        pass
    assert {run.info.status for run in runs(store).values()} == {"KILLED"}
    assert len(store.search_runs([run.info.experiment_id for run in runs(store).values()])) == len(runs(store))


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


def test_a_read_only_store_is_an_error_before_training(store, tmp_path):
    open_tracker("ecgmtl")
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    connection.close()
    with pytest.raises(TrackingError, match="disk full"), open_tracker("ecgmtl").run("quick", **NOTHING):
        pass


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
