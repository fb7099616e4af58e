"""MLflow's own user interface, served on the store that training logs to."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from data_prep.errors import UserError
from ecgmtl.tracking.store import (
    ENVIRONMENT,
    EXPERIMENT,
    VIEW,
    VIEW_KEY,
    artifact_root,
    has_store,
    refuse_old_store,
    store_uri,
)

HOST = "127.0.0.1"
SECONDS_TO_START = 120.0
SECONDS_TO_STOP = 10.0
MODELS_VIEW = "workflowType=machine_learning"
"""Part of an address without which MLflow opens on its tools for language models."""


class UiError(UserError):
    """The user interface cannot be shown."""


def serve(port: int, say: Callable[[str], object]) -> int:
    """Serve the runs until interrupted, or return the server's exit code if it ends by itself.

    `say` receives the addresses once the server answers. Port 0 chooses a free port. Where MLFLOW_TRACKING_URI names a
    server, `say` receives its address and nothing is started.

    Raises:
        UiError: there are no runs, the port is taken, or the server does not start.
    """
    uri = store_uri()
    if uri.startswith(("http://", "https://")):
        announce(uri.rstrip("/"), say)
        return 0
    refuse_old_store()
    if not has_store():
        raise UiError(
            f"{Path.cwd()}: no mlflow.db here, so there are no runs yet. Start one with 'ecgmtl train', or change to "
            "another folder."
        )
    address = f"http://{HOST}:{claim_port(port)}"
    with tempfile.TemporaryFile() as output, server(uri, address, output) as process:
        wait_until_it_answers(address, process, output)
        announce(address, say)
        return process.wait()


def claim_port(port: int) -> int:
    """Return the port, or a free one for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UiError(f"port {port}: {error.strerror}. 'ecgmtl ui --port 0' chooses a free one.") from error
        return int(probe.getsockname()[1])


@contextmanager
def server(uri: str, address: str, output: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run MLflow's server with one worker and without its job runner, which would take 2 GB and 24 s to start."""
    environment = ENVIRONMENT | os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    port = address.rpartition(":")[2]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--default-artifact-root", artifact_root()]
    command += ["--host", HOST, "--port", port, "--workers", "1"]
    process = subprocess.Popen(  # noqa: S603 - the arguments are our own
        command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server and all processes that it started."""
    processes = family(process.pid)
    for member in processes:
        with suppress(psutil.NoSuchProcess):
            member.terminate()
    process.poll()
    for member in psutil.wait_procs(processes, SECONDS_TO_STOP)[1]:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all that it started, if they still run."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def wait_until_it_answers(address: str, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            fetch(f"{address}/health")
        except OSError:
            time.sleep(0.1)
        else:
            return
    output.seek(0)
    lines = output.read().decode(errors="replace").strip().splitlines()[-8:]
    raise UiError("MLflow's user interface did not start. Its last output is:\n  " + "\n  ".join(lines))


def announce(address: str, say: Callable[[str], object]) -> None:
    """Report the addresses of the experiment's curves and of the table of its runs."""
    query = urllib.parse.urlencode({"experiment_name": EXPERIMENT})
    try:
        answer = json.loads(fetch(f"{address}/api/2.0/mlflow/experiments/get-by-name?{query}"))["experiment"]
    except (OSError, ValueError, KeyError):
        say(f"MLflow: {address}/#/experiments?{MODELS_VIEW} (no experiment '{EXPERIMENT}' yet)")
        return
    runs = f"{address}/#/experiments/{answer['experiment_id']}/runs?{MODELS_VIEW}"
    has_columns = VIEW in {tag["key"] for tag in answer.get("tags", ())}
    say(f"curves: {runs}&compareRunsMode=CHART")
    say(f"runs:   {runs}{f'&viewStateShareKey={VIEW_KEY}' if has_columns else ''}")


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - http only, by our callers
        body: bytes = answer.read()
    return body
