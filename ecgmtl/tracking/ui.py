"""Shows the runs in MLflow's own user interface, on the store that training logs to."""

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
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from data_prep.errors import UserError
from ecgmtl.tracking.store import ENVIRONMENT, VIEW, VIEW_KEY, artifact_root, has_store, refuse_old_store, store_uri

HOST = "127.0.0.1"
SECONDS_TO_START = 120.0
SECONDS_TO_STOP = 10.0
MODELS_VIEW = "workflowType=machine_learning"
"""Without this MLflow opens on its tools for language models."""


class UiError(UserError):
    """The user interface cannot be shown; the message says what would do."""


def serve(port: int, say: Callable[[str], object], open_browser: bool = False, experiment: str = "ecgmtl") -> int:
    """Show the runs until interrupted; the server's exit code if it ends by itself.

    `say` is told where to look once it answers. Port 0 is a free one. Where MLFLOW_TRACKING_URI is a server already,
    its address is told and nothing started.

    Raises:
        UiError: no runs here, the port is taken, or the server does not start.
    """
    uri = store_uri()
    if uri.startswith(("http://", "https://")):
        announce(uri.rstrip("/"), experiment, say, open_browser)
        return 0
    refuse_old_store()
    if not has_store():
        raise UiError(f"{Path.cwd()}: no mlflow.db here, so no runs yet. 'ecgmtl train' makes some; or change folder.")
    address = f"http://{HOST}:{claim_port(port)}"
    with tempfile.TemporaryFile() as output, server(uri, address, output) as process:
        wait_until_it_answers(address, process, output)
        announce(address, experiment, say, open_browser)
        return process.wait()


def claim_port(port: int) -> int:
    """The port, or a free one for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UiError(f"port {port}: {error.strerror}. 'ecgmtl ui --port 0' takes a free one.") from error
        return int(probe.getsockname()[1])


@contextmanager
def server(uri: str, address: str, output: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server with one worker and without its job runner, which would take 2 GB and 24 s to start."""
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
    """End the server and all that it started."""
    started = family(process.pid)
    for one in started:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    process.poll()
    for one in psutil.wait_procs(started, SECONDS_TO_STOP)[1]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all that it started, as far as they still run."""
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
    said = output.read().decode(errors="replace").strip().splitlines()[-8:]
    raise UiError("MLflow's user interface did not start; it said:\n  " + "\n  ".join(said))


def announce(address: str, experiment: str, say: Callable[[str], object], open_browser: bool) -> None:
    """Tell the addresses of the experiment's curves and of the table of its runs."""
    query = urllib.parse.urlencode({"experiment_name": experiment})
    try:
        found = json.loads(fetch(f"{address}/api/2.0/mlflow/experiments/get-by-name?{query}"))["experiment"]
    except (OSError, ValueError, KeyError):
        say(f"MLflow: {address}/#/experiments?{MODELS_VIEW} (no experiment '{experiment}' yet)")
        return
    runs = f"{address}/#/experiments/{found['experiment_id']}/runs?{MODELS_VIEW}"
    has_columns = VIEW in {tag["key"] for tag in found.get("tags", ())}
    say(f"curves: {runs}&compareRunsMode=CHART")
    say(f"runs:   {runs}{f'&viewStateShareKey={VIEW_KEY}' if has_columns else ''}")
    if open_browser:
        webbrowser.open(f"{runs}&compareRunsMode=CHART")


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - http only, by our callers
        body: bytes = answer.read()
    return body
