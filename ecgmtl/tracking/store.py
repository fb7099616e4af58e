"""MLflow's store of runs: its address and settings, the experiment's page, and runs of processes that died."""

import getpass
import json
import logging
import os
import re
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import psutil
from filelock import FileLock

from data_prep.errors import UserError
from ecgmtl import identity
from ecgmtl.tracking import names
from ecgmtl.tracking.outbox import reason_of

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # loading a model never runs code from it
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # with MLflow's own defaults, a dead server blocks training for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""Environment variables for MLflow, set before its import unless the user has set them."""

SQLITE = "sqlite:///"
VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE, ARTIFACTS = "mlflow.db", "mlruns"
"""MLflow's own default store, in the working folder."""
SECONDS_TO_SET_UP = 120.0
"""Longest wait for another process that makes the tables of a new store."""
NOTE = "mlflow.note.content"
PARENT = "mlflow.parentRunId"

EXPERIMENT = "ecgmtl"
"""MLflow experiment that holds all runs."""
EXPERIMENT_NOTE = """\
Multi-task learning on 12-lead ECGs: one network that reconstructs waveforms and predicts diagnoses.

**One run is one training schedule.** Its stages are nested runs. The **+** beside its name shows them. The run of the
schedule has all curves on one axis of steps, the scores of the final model, and the model itself.

| metrics | |
|:--|:--|
| `train/` | every optimizer step: losses, task weights, learning rate |
| `train gradients/`, `train weighting/` | diagnostics: gradients of the tasks, state of the weighting |
| `train curvature/` | diagnostics: Hessian and tangent kernel of classification |
| `validation/` | every epoch, on records that are not trained on |
| `final validation …` | scores of the final model; `_low` and `_high` are the ends of 95 % intervals |
| `final test …` | the same from `ecgmtl evaluate`, on records that no choice was based on |
| `system/` | processor, memory, disk, GPU |

The parameters are the whole config. The tags name stage, seed, code, data and the command.
"""
"""Note at the top of the experiment's page, unless somebody has written another one there."""

VIEW_KEY = "ecgmtl"
VIEW = f"mlflow.sharedViewState.{VIEW_KEY}"
COLUMNS = (
    *(f"metrics.`{names.final(split, names.MACRO_AUROC)}`" for split in ("test whole", "validation")),
    *(f"metrics.`{names.validation(figure)}`" for figure in (names.MACRO_AUROC, names.RMSE)),
    *("tags.`labels`", "tags.`encoder`", "tags.`weighting`", "tags.`seed`"),
)
"""Columns of the table of runs as `ecgmtl ui` opens it, in MLflow's own terms. By default it shows no figures.

Columns of facts come before those of figures in MLflow. None is chosen, so that AUROC stays in view on a laptop.
"""


class TrackingError(UserError):
    """The store of runs cannot be used."""


def import_mlflow() -> ModuleType:
    """Import MLflow with telemetry and pickle loading disabled, quiet logging, and short timeouts for dead servers."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    # these repeat at every call what the tracker says once in a line
    for name in ("mlflow.store", "mlflow.system_metrics", "mlflow.tracking", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


def has_store() -> bool:
    """Return whether there is a store: the one that the environment names, or that of the working folder."""
    return bool(os.environ.get(VARIABLE)) or Path(DATABASE).is_file()


def store_uri() -> str:
    """Return the URI of the store that the environment names, or else of the working folder's own.

    MLflow would percent-encode the folder's path, and then create a folder of the encoded name as well. The path is
    therefore not encoded, and it is left out where it would mean another folder in a URI.
    """
    path = Path(DATABASE).absolute().as_posix()
    is_plain = unquote(path) == path and "?" not in path
    return os.environ.get(VARIABLE) or SQLITE + (path if is_plain else DATABASE)


@contextmanager
def default_store() -> Iterator[None]:
    """Make this store MLflow's default, for those of its functions that take no URI."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = store_uri()
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def artifact_root() -> str:
    """Return the URI of the folder for artifacts. MLflow misreads some paths of folders."""
    return Path(ARTIFACTS).absolute().as_uri()


def database_of(uri: str) -> Path | None:
    """Return the file of a SQLite store, or None for a store of another kind."""
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
    """Lock out other processes while the tables of a new SQLite store are made. Two at once would break it.

    Raises:
        OSError, sqlite3.Error: the file cannot be written or is not a database. MLflow would retry for 102 s.
    """
    path = database_of(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock"), timeout=SECONDS_TO_SET_UP):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # a read-only or damaged file is refused here
        yield


def refuse_old_store() -> None:
    """Raise TrackingError where MLflow would find its old file store, which it no longer reads."""
    if os.environ.get(VARIABLE):
        return
    for path in sorted(Path(ARTIFACTS).glob("[0-9]*/meta.yaml")):
        raise TrackingError(
            f"{path}: runs in the format of an older MLflow, which this one cannot read. Move mlruns elsewhere. "
            "'mlflow migrate-filestore' copies its runs to mlflow.db."
        )


def unusable(uri: str, error: Exception) -> TrackingError:
    """Return the error for a store that does not work before training begins."""
    reason = without_password(reason_of(error)).rstrip(".")
    remedy = "Start the server" if uri.startswith("http") else "Repair or move it"
    other = "set MLFLOW_TRACKING_URI to another store, or train with --no-track"
    return TrackingError(f"{without_password(uri)}: runs cannot be logged here ({reason}). {remedy}, {other}.")


def without_password(uri: str) -> str:
    return re.sub(r"//[^@/\s]*@", "//", uri)


def find_experiment(client: Any, name: str) -> str:
    """Return the id of the experiment, which is created if it does not exist."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        tags = {NOTE: EXPERIMENT_NOTE, VIEW: json.dumps({"selectedColumns": COLUMNS})}
        is_here = database_of(client.tracking_uri) is not None
        try:
            location = f"{artifact_root()}/{name}" if is_here else None
            return str(client.create_experiment(name, location, tags=tags))
        except Exception:
            experiment = client.get_experiment_by_name(name)  # another process was quicker
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        restore = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        raise TrackingError(f"The experiment '{name}' was deleted in MLflow. Restore it with '{restore}'.")
    return str(experiment.experiment_id)


def process_tags() -> dict[str, str]:
    """Return tags that say which process on which machine a run belongs to."""
    started = psutil.Process().create_time()
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "process_started": f"{started:.0f}"}


def origin_tags() -> dict[str, str]:
    """Return tags that say who started a run, with which command, from which commit."""
    program, *arguments = identity.words()
    tags = {
        "mlflow.source.name": " ".join([program, *(name for name in arguments[:1] if not name.startswith("-"))]),
        "mlflow.source.type": "LOCAL",
        "command": identity.command(),
    }
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        tags["mlflow.user"] = psutil.Process().username()
    if commit := identity.commit():
        tags["mlflow.source.git.commit"] = commit.partition(" ")[0]
    return tags


def end_abandoned_runs(client: Any, experiment_id: str) -> None:
    """Mark runs as KILLED that a process of this machine left RUNNING when it died."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'", max_results=1000):
        if run.data.tags.get("host") == socket.gethostname() and not is_alive(run.data.tags):
            client.set_terminated(run.info.run_id, "KILLED")


def is_alive(tags: Mapping[str, str]) -> bool:
    """Return whether the process of these tags still runs, and is not another one that has got its number."""
    try:
        started = psutil.Process(int(tags["pid"])).create_time()
        return abs(started - float(tags["process_started"])) < 5
    except psutil.AccessDenied:
        return True
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return False
