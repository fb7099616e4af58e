"""The MLflow server of deploy/compose.yaml, on PostgreSQL and object storage: a run, its artifacts and its model."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from tests.places import free_port

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
EXAMPLE = (ROOT / "deploy/example.env").read_text()
POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
TINY = [
    "--config", "quick", "--threads", "1", "--stage", "joint", "--set", "stages.0.epochs=1",
    "--set", "encoder.widths=[4, 4]", "--set", "decoder.width=4", "--set", "stages.1.epochs=1",
]  # fmt: skip


def test_every_variable_is_in_the_example_and_no_password_is_committed():
    text = (ROOT / "deploy/compose.yaml").read_text()
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    assert used == set(re.findall(r"^#?([A-Z_0-9]+)=", EXAMPLE, re.MULTILINE))
    empty = re.findall(r"^([A-Z_0-9]+)=$", EXAMPLE, re.MULTILINE)
    assert empty == ["POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"]
    for name in empty:
        assert set(re.findall(rf"\$\{{{name}([^}}]*)\}}", text)) == {":?set it in .env"}


def test_only_this_machine_reaches_the_server_and_nothing_else_is_open():
    ports = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}
    assert ports == {"database": [], "storage": [], "mlflow": ["127.0.0.1:${PORT:-5000}:5000"]}


@contextmanager
def running(command, address, **options):
    """Start a server and wait until something listens on the address; its whole group ends with the block."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        for _ in range(1800):
            assert process.poll() is None, "the server has ended"
            with socket.socket() as probe:
                if probe.connect_ex(address) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.fixture
def folder():
    """A folder that other users may be let into. Those of pytest are in one that root alone may enter."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        yield Path(name)


@pytest.fixture
def database(folder):
    """A PostgreSQL with a user mlflow who has a password, and its port."""
    if POSTGRES is None or shutil.which("runuser") is None or os.getuid() != 0:
        pytest.skip("there is no PostgreSQL of Debian, or no root to start it")
    port = free_port()
    data, password = folder / "data", folder / "password"
    password.write_text("secret of the test")
    shutil.chown(folder, "postgres")
    as_postgres = ["runuser", "-u", "postgres", "--"]
    init = [POSTGRES / "initdb", "-D", data, "-U", "mlflow", "--auth=scram-sha-256", f"--pwfile={password}"]
    subprocess.run([*as_postgres, *init], check=True, capture_output=True, cwd=folder)
    server = [POSTGRES / "postgres", "-D", data, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1"]
    with running([*as_postgres, *server], ("127.0.0.1", port), cwd=folder, stderr=subprocess.DEVNULL):
        query = [POSTGRES / "psql", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow"]
        environment = {"PGPASSWORD": "secret of the test"}
        ready = [POSTGRES / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-t", "60"]
        while subprocess.run(ready, capture_output=True, check=False).returncode == 1:  # it is starting up
            time.sleep(0.1)
        create = [*query, "-d", "postgres", "-c", "CREATE DATABASE mlflow"]
        subprocess.run(create, check=True, env=environment, capture_output=True)

        def ask(sql):
            done = subprocess.run([*query, "-Atc", sql, "mlflow"], check=True, env=environment, capture_output=True)
            return done.stdout.decode().split()

        yield port, ask


@pytest.fixture
def storage():
    """An S3-compatible server, and a client of it."""
    pytest.importorskip("moto", reason="moto is not installed")
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with running(command, ("127.0.0.1", port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield url, boto3.client("s3", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="secret")


@pytest.fixture
def server(database, storage, tmp_path):
    """The address of the server that the compose file starts, with the addresses of this test."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    port = free_port()
    (command,) = COMPOSE["services"]["mlflow"]["command"]
    for old, new in {
        "@database/": f"@127.0.0.1:{database[0]}/",
        "--host 0.0.0.0 --port 5000 --workers 2": f"--host 127.0.0.1 --port {port} --workers 1",
        "${ALLOWED_HOSTS:-localhost:*,127.0.0.1:*}": "localhost:*,127.0.0.1:*",
        "exec mlflow": f"exec {sys.executable} -m mlflow",
        "python - <<": f"{sys.executable} - <<",
        "$$": "$",
    }.items():
        assert old in command
        command = command.replace(old, new)
    settings = {
        "PGPASSWORD": "secret of the test",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "MLFLOW_S3_ENDPOINT_URL": storage[0],
        "S3_BUCKET": "mlflow",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    assert settings.keys() == COMPOSE["services"]["mlflow"]["environment"].keys()
    with (tmp_path / "server.log").open("w") as log:
        options = {"env": os.environ | settings, "cwd": tmp_path, "stdout": log, "stderr": log}
        with running(["sh", "-c", command], ("127.0.0.1", port), **options):
            yield f"http://127.0.0.1:{port}"


@pytest.mark.slow
def test_a_run_its_artifacts_and_its_model_are_kept_by_the_server(
    server, database, storage, few_prepared, records, tmp_path
):
    def ecgmtl(*arguments):
        """Run a command that knows the server's address alone: no key of the store, no database."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG"))}
        environment |= {"MLFLOW_TRACKING_URI": server, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "120"  # a busy machine answers late
        command = [sys.executable, "-m", "ecgmtl", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    said = ecgmtl("train", "--data", few_prepared.path, "--out", "run", "--register", "ecg", *TINY)
    assert "registered: models:/ecg@champion" in said
    assert not (tmp_path / "mlflow.db").exists()
    _, ask = database
    assert sorted(ask("SELECT status FROM runs")) == ["FINISHED"] * 3  # the run and its two stages
    assert ask("SELECT name FROM registered_models") == ["ecg"]
    kept = {item["Key"].rpartition("/")[2] for item in storage[1].list_objects_v2(Bucket="mlflow")["Contents"]}
    assert {"model.safetensors", "model_card.md", "training.png", "config.yaml", "MLmodel"} <= kept
    assert "6 records predicted, 0 failed" in ecgmtl("predict", "models:/ecg@champion", records, "--out", "p.jsonl")
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 6
    elsewhere = urllib.request.Request(server, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(elsewhere, timeout=60)
