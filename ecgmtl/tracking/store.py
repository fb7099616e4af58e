"""Where MLflow keeps the runs: its settings, the experiment's page, what a process leaves behind."""

import getpass
import json
import logging
import os
import re
import shlex
import socket
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import psutil
from filelock import FileLock

from data_prep.errors import UserError
from ecgmtl.tracking import names
from ecgmtl.tracking.outbox import reason_of

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # loading a model never runs code from it
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # by MLflow's own figures a dead server holds up training for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""Set before MLflow is imported, where the user has not set them."""

SQLITE = "sqlite:///"
VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE, ARTIFACTS = "mlflow.db", "mlruns"
"""MLflow's own default store, in the working folder."""
SECONDS_TO_SET_UP = 120.0
"""For which a process waits while another one makes the tables of a new store."""
NOTE = "mlflow.note.content"
PARENT = "mlflow.parentRunId"

EXPERIMENT_NOTE = """\
Multi-task learning on 12-lead ECGs: one network that redraws the waveform and reads the disease.

**One run is one training schedule.** Its stages are the runs nested in it: the **+** beside its name shows them.
The schedule's own run carries all curves on one common axis of steps, the figures at its end and the final model.

| metrics | |
|:--|:--|
| `train/` | every optimizer step: losses, weights of the tasks, learning rate |
| `train gradients/`, `train weighting/` | diagnostics: the tasks' gradients, the state of the weighting |
| `validation/` | every epoch, on records that are not trained on |
| `final validation …` | at the end, of the final model; `_low` and `_high` are the ends of 95 % intervals |
| `final test …` | the same by `ecgmtl evaluate`, on records by which nothing was chosen |
| `system/` | processor, memory, disk, GPU |

The parameters are the whole configuration; the tags name stage, seed, code, data and the command that was typed.
"""
"""What the experiment's page says at its top, unless somebody has written another note there."""

VIEW_KEY = "ecgmtl"
VIEW = f"mlflow.sharedViewState.{VIEW_KEY}"
COLUMNS = (
    *(f"metrics.`{names.final(split, names.MACRO_AUROC)}`" for split in ("test whole", "validation")),
    *(f"metrics.`{names.validation(figure)}`" for figure in (names.MACRO_AUROC, names.RMSE)),
    *("tags.`labels`", "tags.`encoder`", "tags.`weighting`", "tags.`seed`"),
    *("attributes.`Dataset`", "attributes.`Models`"),
)
"""Of the table of runs as `ecgmtl ui` opens it, in the interface's own terms; of itself it shows no figures."""


class TrackingError(UserError):
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


def has_store() -> bool:
    """Return whether there is a store already: the one that the environment names, or this folder's own."""
    return bool(os.environ.get(VARIABLE)) or Path(DATABASE).is_file()


def store_uri() -> str:
    """Return the URI of the store that the environment names, or else of the working folder's own.

    MLflow would percent-encode the folder's path, and then make a folder of the encoded name as well. So the path
    stands here as it is, and a folder whose path means another one in a URI is not named at all.
    """
    path = Path(DATABASE).absolute().as_posix()
    is_plain = unquote(path) == path and "?" not in path
    return os.environ.get(VARIABLE) or SQLITE + (path if is_plain else DATABASE)


@contextmanager
def default_store() -> Iterator[None]:
    """Make our store MLflow's default, for its functions that take no URI."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = store_uri()
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def artifact_root() -> str:
    """Return the URI of the folder for artifacts, which MLflow would take for another where it is given as a path."""
    return Path(ARTIFACTS).absolute().as_uri()


def database_of(uri: str) -> Path | None:
    """Return the file of a SQLite store; None where the store is of another kind."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except ArgumentError:  # not a database
        return None
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)).absolute() if is_file else None


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Let no other process set up the tables of a new SQLite store meanwhile, which would break both.

    Raises:
        OSError, sqlite3.Error: the file cannot be written or is no database. MLflow would try for 102 s.
    """
    path = database_of(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock"), timeout=SECONDS_TO_SET_UP):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # what is read-only or damaged is refused here
        yield


def refuse_old_store() -> None:
    """Raise TrackingError where MLflow would find its old file store, which it refuses by now."""
    if os.environ.get(VARIABLE):
        return
    for path in sorted(Path(ARTIFACTS).glob("[0-9]*/meta.yaml")):
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
        is_here = database_of(client.tracking_uri) is not None
        try:
            location = f"{artifact_root()}/{name}" if is_here else None
            return str(client.create_experiment(name, location, tags=tags))
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
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        tags["mlflow.user"] = psutil.Process().username()
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
