import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from ecgmtl.tracking.tracker import open_tracker
from ecgmtl.tracking.ui import UiError, claim_port, serve


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def refuse(_text):
    raise AssertionError("nothing should be said")


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(UiError, match=r"no mlflow.db here.*ecgmtl train"):
        serve(0, refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UiError, match=f"port {port}: .*--port 0"):
            claim_port(port)
    assert claim_port(0) > 0


def test_where_a_server_runs_already_its_address_is_said_and_none_is_started(monkeypatch):
    messages = []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9/")
    assert serve(0, messages.append) == 0
    assert messages == [
        "MLflow: http://127.0.0.1:9/#/experiments?workflowType=machine_learning (no experiment 'ecgmtl' yet)"
    ]


@pytest.mark.slow
def test_a_server_that_does_not_start_is_an_error_with_its_reason():
    with sqlite3.connect("mlflow.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('from the future')")
    connection.close()
    with pytest.raises(UiError, match=r"did not start\. Its last output is:\n"):
        serve(0, refuse)


@pytest.mark.slow
def test_runs_are_served_and_an_interrupt_leaves_no_process_behind(migrated):
    shutil.copy(migrated, "mlflow.db")
    open_tracker("ecgmtl")
    script = "from ecgmtl.tracking.ui import serve; serve(0, lambda text: print(text, flush=True))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    shown = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    link = shown.stdout.readline().split()[1]
    table = shown.stdout.readline().split()[1]
    children = psutil.Process(shown.pid).children(recursive=True)
    page = urllib.request.urlopen(link).read()
    shown.send_signal(signal.SIGINT)
    shown.wait(20)
    shown.stdout.close()
    assert "/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=CHART" in link
    assert table.endswith("/runs?workflowType=machine_learning&viewStateShareKey=ecgmtl")
    assert b"MLflow" in page
    assert children
    assert not any(child.is_running() for child in children)
