"""Tracker that logs runs, settings, figures, data and models to MLflow. No failure of MLflow stops training."""

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ecgmtl.tracking.models import log_model, newest_model, register_model
from ecgmtl.tracking.outbox import Outbox
from ecgmtl.tracking.store import NOTE, PARENT, SQLITE, origin_tags, process_tags, unusable, without_password
from ecgmtl.tracking.uninterrupted import uninterrupted

log = logging.getLogger("ecgmtl")

SYSTEM_METRICS_SECONDS = 5.0
MAX_METRICS, MAX_OTHERS = 1_000, 100  # in one call, by MLflow's own limits
MAX_NOTE = 8_000  # characters
DIGEST_LENGTH = 12
"""Characters of the data's digest that are logged. MLflow takes at most 36, and its list of runs has room for 12."""


class MlflowTracker:
    """Tracker that logs to MLflow. A store that fails once training has begun gives one warning and stops nothing."""

    def __init__(self, client: Any, experiment_id: str, parent: str | None = None) -> None:
        """Nest the outermost runs in the run with the id `parent`, which may be of another process."""
        self._client = client
        self._parent = parent
        self._experiment_id = experiment_id
        self._open: list[OpenRun] = []
        self._kept = ExitStack()
        self._guard = uninterrupted if client.tracking_uri.startswith(SQLITE) else nullcontext
        self._outbox = Outbox(f"MLflow ({without_password(client.tracking_uri)})", is_hopeless, self._guard)

    @property
    def active_run_id(self) -> str | None:
        return self._open[-1].id if self._open else None

    @contextmanager
    def run(
        self,
        name: str,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, object],
        note: str = "",
        resume: str | None = None,
    ) -> Iterator[str | None]:
        run = OpenRun(self._open[-1] if self._open else None)
        try:
            self._start(run, name, {**tags, NOTE: note[:MAX_NOTE]} if note else tags, resume)
            self._log_params(run, flatten(params))
        except (KeyboardInterrupt, SystemExit):
            if run.id is not None:  # otherwise MLflow does not know the run
                self._end(run, "KILLED")
            raise
        self._open.append(run)
        status = "FAILED"
        try:
            with nullcontext() if run.parent else self._system_metrics(run):
                yield run.id
            status = "FINISHED"
        except (KeyboardInterrupt, SystemExit):
            status = "KILLED"
            raise
        except Exception as error:
            self.set_tags({"error": f"{type(error).__name__}: {error}"[:500]})
            raise
        finally:
            self._open.pop()
            self._end(run, status)
            if not self._open:
                self._outbox.close()
                self._kept.close()

    def _end(self, run: "OpenRun", status: str) -> None:
        # a later evaluation adds to a finished run and does not change how it ended
        end = status if run.finished_at is None else "FINISHED"
        self._outbox.send(lambda: self._client.set_terminated(run.id, end, run.finished_at))

    def log_metrics(self, metrics: Mapping[str, float], step: int, parent_offset: int | None = None) -> None:
        self.log_steps({name: np.array([value], dtype=float) for name, value in metrics.items()}, step, parent_offset)

    def log_steps(
        self, rows: Mapping[str, Float[np.ndarray, " step"]], first_step: int, parent_offset: int | None = None
    ) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        run = self._open[-1]
        targets = [(run, first_step)]
        if run.parent is not None and parent_offset is not None:
            targets.append((run.parent, first_step + parent_offset))
        for target, start in targets:
            points = [
                Metric(name, float(values[i]), now, start + int(i))
                for name, values in rows.items()
                for i in np.flatnonzero(np.isfinite(values))
                if start + i > target.last_steps.get(name, -1)
            ]
            for batch in batched(points, MAX_METRICS):
                self._outbox.send(partial(self._log_batch, target, metrics=batch))

    def announce(self, metric: str) -> None:
        # MLflow keeps metrics in the order of their first values, and a comparison of runs opens on the first metric
        run = self._open[-1]

        def send() -> None:
            if metric not in run.last_steps:
                self._client.log_metric(run.id, metric, math.nan, step=0)

        self._outbox.send(send)

    def log_final(self, metrics: Mapping[str, float]) -> None:
        run = self._open[-1]
        self._outbox.send(partial(self._log_final, run, dict(metrics), run.step_after(metrics), run.dataset))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        for batch in batched([RunTag(*item) for item in tags.items()], MAX_OTHERS):
            self._outbox.send(partial(self._log_batch, self._open[-1], tags=batch))

    def log_artifact(self, path: Path, folder: str = "") -> None:
        run = self._open[-1]
        if path.is_dir():
            target = folder or path.name
            self._outbox.send(lambda: self._client.log_artifacts(run.id, str(path), target))
        else:
            self._outbox.send(lambda: self._client.log_artifact(run.id, str(path), folder or None))

    def log_input(self, name: str, digest: str, source: str, n_records: Mapping[str, int]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        profile = {f"{split}_records": count for split, count in n_records.items()}
        data = Dataset(name, digest[:DIGEST_LENGTH], "local", json.dumps({"uri": source}), profile=json.dumps(profile))
        dataset_input = DatasetInput(data, [InputTag("mlflow.data.context", " ".join(n_records))])
        run = self._open[-1]
        run.dataset = DatasetKey(data.name, data.digest)
        self._outbox.send(lambda: self._client.log_inputs(run.id, [dataset_input]))

    def log_model(
        self,
        folder: Path,
        name: str,
        description: str,
        params: Mapping[str, object],
        when_logged: Callable[[], object] = lambda: None,
    ) -> None:
        run, kept = self._open[-1], self._keep(folder)

        def send() -> None:
            run.model_id = log_model(self._client, self._experiment_id, run.id, kept, name, description, params)
            when_logged()

        self._outbox.send(send)

    def _keep(self, folder: Path) -> Path:
        """Copy a folder to where it lasts until the outermost run ends, since MLflow may be away until then."""
        kept = Path(self._kept.enter_context(TemporaryDirectory(prefix="ecgmtl-"))) / folder.name
        try:
            shutil.copytree(folder, kept)
        except OSError:  # it is missing, or there is no room; MLflow may take the folder itself at once
            return folder
        return kept

    def register_model(self, name: str) -> str | None:
        run, uris = self._open[-1], []

        def send() -> None:
            if run.model_id is not None:  # otherwise logging it has failed, and the warning has been given
                uris.append(register_model(self._client, name, run.id, run.model_id))

        self._outbox.send(send)
        return uris[0] if uris else None

    def _start(self, run: "OpenRun", name: str, tags: Mapping[str, str], resume: str | None) -> None:
        """Open the run. For an outermost run, raise TrackingError at once where the store does not work."""
        if run.parent is not None:
            self._outbox.send(lambda: self._create(run, name, tags, resume))
            return
        try:
            with self._guard():
                self._create(run, name, tags, resume)
        except Exception as error:
            raise unusable(self._client.tracking_uri, error) from error

    def _create(self, run: "OpenRun", name: str, tags: Mapping[str, str], resume: str | None) -> None:
        from mlflow.entities import RunTag

        tags = process_tags() | dict(tags)
        parent = self._parent if run.parent is None else run.parent.id
        if parent is not None:
            tags[PARENT] = parent
        known = self._find(resume) if resume else None
        if known is None:
            tags = origin_tags() | tags
            run.id = self._client.create_run(self._experiment_id, tags=tags, run_name=name).info.run_id
            return
        run.id = known.info.run_id
        run.finished_at = known.info.end_time if known.info.status == "FINISHED" else None
        run.last_steps = {metric.key: metric.step for metric in known.data.to_proto().metrics}
        run.known_params = frozenset(known.data.params)
        run.model_id = newest_model(self._client, self._experiment_id, known.info.run_id)
        self._client.update_run(run.id, status="RUNNING")
        self._log_batch(run, tags=[RunTag(*item) for item in tags.items()])

    def _find(self, run_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            run = None
        if run is None or run.info.lifecycle_stage == "deleted":
            log.warning("MLflow: the run %s to resume no longer exists; a new run is logged.", run_id)
            return None
        return run

    def _log_params(self, run: "OpenRun", params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        def send(batch: Sequence[Param]) -> None:
            # a param cannot be changed, so a resumed run keeps those that it began with
            self._log_batch(run, params=[param for param in batch if param.key not in run.known_params])

        for batch in batched([Param(*item) for item in params.items()], MAX_OTHERS):
            self._outbox.send(partial(send, batch))

    def _log_batch(self, run: "OpenRun", **entries: Any) -> None:
        self._client.log_batch(run.id, **entries)

    def _log_final(self, run: "OpenRun", metrics: Mapping[str, float], step: int, dataset: "DatasetKey | None") -> None:
        """Log figures of the run and of its model, with the data set that they were measured on."""
        facts: dict[str, Any] = {"step": step, "model_id": run.model_id}
        if dataset is not None:
            facts |= {"dataset_name": dataset.name, "dataset_digest": dataset.digest}
        for key, value in metrics.items():
            if math.isfinite(value):
                # one call each, for `log_batch` forgets the data set of a model's figures
                self._client.log_metric(run.id, key, value, **facts)

    @contextmanager
    def _system_metrics(self, run: "OpenRun") -> Iterator[None]:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        uri = self._client.tracking_uri
        monitor: Any = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
            run.id, SYSTEM_METRICS_SECONDS, resume_logging=True, tracking_uri=uri
        )
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()


class DatasetKey(NamedTuple):
    """Name and digest by which MLflow identifies a data set."""

    name: str
    digest: str


@dataclass
class OpenRun:
    """A run that is under way."""

    parent: "OpenRun | None"
    id: str | None = None
    """Unknown until the store has answered."""
    last_steps: Mapping[str, int] = field(default_factory=dict)
    """Last step of each metric that a resumed run has already."""
    known_params: frozenset[str] = frozenset()
    finished_at: int | None = None
    """Time in ms at which a resumed run had finished. None if it had not."""
    dataset: DatasetKey | None = None
    """Data set that was logged last."""
    model_id: str | None = None
    """Model that was logged last, in this process or before the run was resumed."""

    def step_after(self, metrics: Iterable[str]) -> int:
        """Return the first step that none of these metrics has yet."""
        return 1 + max((self.last_steps.get(name, -1) for name in metrics), default=-1)


def is_hopeless(error: Exception) -> bool:
    """Return whether the call itself was wrong, rather than the store away, locked or full."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code not in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
    return not isinstance(error, OSError) or isinstance(error, FileNotFoundError)


def batched(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield the items in batches of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def flatten(tree: Mapping[str, object]) -> dict[str, str]:
    """Flatten a tree of settings to names such as `stages.1.weighting.kind`, each value as one would type it."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        inner = value
        if isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
            inner = {str(i): item for i, item in enumerate(value)}
        if isinstance(inner, Mapping) and inner:
            flat |= {f"{key}.{name}": text for name, text in flatten(inner).items()}
        else:
            flat[str(key)] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat
