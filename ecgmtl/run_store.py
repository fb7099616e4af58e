"""Where MLflow keeps the runs: its settings, the experiment's page, what a process leaves behind."""

import fcntl
import getpass
import json
import logging
import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from ecgmtl.outbox import reason_of

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # loading a model never runs code from it
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # by MLflow's own figures a dead server holds up training for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""Set before MLflow is imported, where the user has not set them."""

SQLITE = "sqlite:///"
NOTE = "mlflow.note.content"
PARENT = "mlflow.parentRunId"

EXPERIMENT_NOTE = """\
Multi-task learning on 12-lead ECGs: one network that redraws the waveform and reads the disease.

**One run is one training schedule.** Its stages are the runs nested in it: the **+** beside its name shows them.
The schedule's own run carries all curves on one common axis of steps, the figures at its end and the final model.

| metrics | |
|:--|:--|
| `train/` | every optimiser step: losses, how much each task weighs, learning rate, gradients |
| `validation/` | every epoch, on records that are not trained on |
| `final validation/` | at the end, of the final model; `_low` and `_high` are the ends of 95 % intervals |
| `final test …/` | the same by `ecgmtl evaluate`, on records by which nothing was chosen |
| `system/` | processor, memory, disk, GPU |

The parameters are the whole configuration; the tags name stage, seed, code, data and the command that was typed.
"""
"""What the experiment's page says at its top, unless somebody has written another note there."""

VIEW_KEY = "ecgmtl"
VIEW = f"mlflow.sharedViewState.{VIEW_KEY}"
COLUMNS = (
    *("attributes.`Dataset`", "attributes.`Models`"),
    *("metrics.`final test whole/macro_auroc`", "metrics.`final validation/macro_auroc`"),
    *("metrics.`validation/macro_auroc`", "metrics.`validation/rmse_mv`"),
    *("tags.`labels`", "tags.`encoder`", "tags.`weighting`", "tags.`seed`"),
)
"""Of the table of runs as `ecgmtl ui` opens it, in the interface's own terms; of itself it shows no figures."""


class TrackingError(RuntimeError):
    """The store for runs cannot be used; the message says what would do."""


def import_mlflow() -> ModuleType:
    """MLflow without telemetry or pickles, quiet, and soon through with a server that is away."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    # they say at length and at every call what the tracker says once in a line
    for name in ("mlflow.store", "mlflow.system_metrics", "mlflow.tracking", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Processes that begin at once would each set up a new SQLite store's tables, and break one another's."""
    if not uri.startswith(SQLITE):
        yield
        return
    folder = os.open(Path(uri.removeprefix(SQLITE)).absolute().parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def refuse_old_store() -> None:
    """Raise TrackingError where MLflow would find its old file store, which it refuses by now."""
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return
    for path in sorted(Path("mlruns").glob("[0-9]*/meta.yaml")):
        raise TrackingError(
            f"{path}: runs in the format of an older MLflow, which the present one refuses. Move mlruns elsewhere; "
            "'mlflow migrate-filestore' takes its runs over into mlflow.db."
        )


def unusable(uri: str, error: Exception) -> TrackingError:
    """What to tell of a store that does not work before training has begun."""
    reason = without_password(reason_of(error)).rstrip(".")
    remedy = "Start the server" if uri.startswith("http") else "Mend or move it"
    other = "set MLFLOW_TRACKING_URI to another store, or train with --no-track"
    return TrackingError(f"{without_password(uri)}: runs cannot be logged here ({reason}). {remedy}, {other}.")


def without_password(uri: str) -> str:
    return re.sub(r"//[^@/\s]*@", "//", uri)


def find_experiment(client: Any, name: str) -> str:
    """The id of the experiment, which is made where it is not there yet."""
    found = client.get_experiment_by_name(name)
    if found is None:
        tags = {NOTE: EXPERIMENT_NOTE, VIEW: json.dumps({"selectedColumns": COLUMNS})}
        try:
            return str(client.create_experiment(name, tags=tags))
        except Exception:
            found = client.get_experiment_by_name(name)  # another process was quicker
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        restore = f"mlflow experiments restore --experiment-id {found.experiment_id}"
        raise TrackingError(f"The experiment '{name}' was deleted in MLflow. Bring it back with '{restore}'.")
    return str(found.experiment_id)


def process_tags() -> dict[str, str]:
    """Which process of which machine a run belongs to."""
    started = psutil.Process().create_time()
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "process_started": f"{started:.0f}"}


def origin_tags() -> dict[str, str]:
    """Who began a run, by which command, from which commit."""
    program = Path(sys.argv[0]).name
    command = sys.argv[1:2] if sys.argv[1:2] and not sys.argv[1].startswith("-") else []
    tags = {
        "mlflow.source.name": " ".join([program, *command]),
        "mlflow.source.type": "LOCAL",
        "command": shlex.join([program, *sys.argv[1:]])[:1000],
    }
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        tags["mlflow.user"] = str(os.getuid())
    home = Path(__file__).parent.parent
    if (home / ".git").exists():
        from mlflow.utils.git_utils import get_git_commit

        tags["mlflow.source.git.commit"] = get_git_commit(str(home)) or "none yet"
    return tags


def end_abandoned_runs(client: Any, experiment_id: str) -> None:
    """Mark KILLED what a process of this machine left RUNNING when it was killed without warning."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'", max_results=1000):
        if run.data.tags.get("host") == socket.gethostname() and not is_alive(run.data.tags):
            client.set_terminated(run.info.run_id, "KILLED")


def is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process of these tags is still there, and not another one that has got its number."""
    try:
        started = psutil.Process(int(tags["pid"])).create_time()
        return abs(started - float(tags["process_started"])) < 5
    except psutil.AccessDenied:
        return True
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return False
