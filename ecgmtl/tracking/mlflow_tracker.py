"""MlflowTracker: notes runs, their stages, settings and figures in MLflow, and lets no failure of it stop training."""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ecgmtl.tracking.outbox import Outbox
from ecgmtl.tracking.store import NOTE, PARENT, origin_tags, process_tags, unusable, without_password

log = logging.getLogger("ecgmtl")

SYSTEM_METRICS_SECONDS = 5.0
MOST_METRICS, MOST_OTHERS = 1_000, 100  # in one call, by MLflow's own limits
MOST_NOTE = 8_000  # characters
SHORT_DIGEST = 12  # characters, as there is room for in the list of runs


class MlflowTracker:
    """Notes runs in MLflow; a store that fails once training has begun is told once and does not stop it."""

    def __init__(self, client: Any, experiment_id: str, around: str | None = None) -> None:
        """`around` is the id of a run, of this process or another, in which the outermost runs are nested."""
        self._client = client
        self._around = around
        self._experiment_id = experiment_id
        self._open: list[OpenRun] = []
        self._outbox = Outbox(f"MLflow ({without_password(client.tracking_uri)})", is_hopeless)

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
        self._start(run, name, {**tags, NOTE: note[:MOST_NOTE]} if note else tags, resume)
        self._log_params(run, flatten(params))
        self._open.append(run)
        status = "FAILED"
        try:
            with nullcontext() if run.around else self._system_metrics(run):
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
            # what is added to a finished run, as by a later evaluation, does not change how it ended
            end = status if run.finished_at is None else "FINISHED"
            self._outbox.send(lambda: self._client.set_terminated(run.id, end, run.finished_at))
            if not self._open:
                self._outbox.close()

    def log_metrics(self, metrics: Mapping[str, float], step: int, parent_offset: int | None = None) -> None:
        self.log_steps({name: np.array([value], dtype=float) for name, value in metrics.items()}, step, parent_offset)

    def log_steps(
        self, rows: Mapping[str, Float[np.ndarray, " step"]], first_step: int, parent_offset: int | None = None
    ) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        run = self._open[-1]
        into = [(run, first_step)]
        if run.around is not None and parent_offset is not None:
            into.append((run.around, first_step + parent_offset))
        for target, start in into:
            points = [
                Metric(name, float(values[i]), now, start + int(i))
                for name, values in rows.items()
                for i in np.flatnonzero(np.isfinite(values))
                if start + i > target.last_steps.get(name, -1)
            ]
            for some in batched(points, MOST_METRICS):
                self._outbox.send(partial(self._log_batch, target, metrics=some))

    def log_final(self, metrics: Mapping[str, float]) -> None:
        self.log_metrics(metrics, self._open[-1].step_after(metrics))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        for some in batched([RunTag(*item) for item in tags.items()], MOST_OTHERS):
            self._outbox.send(partial(self._log_batch, self._open[-1], tags=some))

    def log_artifact(self, path: Path, folder: str = "") -> None:
        run = self._open[-1]
        if path.is_dir():
            place = folder or path.name
            self._outbox.send(lambda: self._client.log_artifacts(run.id, str(path), place))
        else:
            self._outbox.send(lambda: self._client.log_artifact(run.id, str(path), folder or None))

    def log_input(self, name: str, digest: str, source: str, n_records: Mapping[str, int]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        where = json.dumps({"uri": source})
        data = Dataset(name, digest[:SHORT_DIGEST], "local", where, profile=json.dumps(dict(n_records)))
        used = DatasetInput(data, [InputTag("mlflow.data.context", " ".join(n_records))])
        run = self._open[-1]
        self._outbox.send(lambda: self._client.log_inputs(run.id, [used]))

    def log_model(self, folder: Path, name: str, metrics: Mapping[str, float], note: str = "") -> None:
        self._outbox.send(partial(self._log_model, self._open[-1], folder, name, metrics, note))

    def _start(self, run: "OpenRun", name: str, tags: Mapping[str, str], resume: str | None) -> None:
        """Open the run, the outermost one now or not at all: a store that does not work is told before training."""
        if run.around is not None:
            self._outbox.send(lambda: self._create(run, name, tags, resume))
            return
        try:
            self._create(run, name, tags, resume)
        except Exception as error:
            raise unusable(self._client.tracking_uri, error) from error

    def _create(self, run: "OpenRun", name: str, tags: Mapping[str, str], resume: str | None) -> None:
        from mlflow.entities import RunTag

        tags = process_tags() | dict(tags)
        around = self._around if run.around is None else run.around.id
        if around is not None:
            tags[PARENT] = around
        known = self._find(resume) if resume else None
        if known is None:
            tags = origin_tags() | tags
            run.id = self._client.create_run(self._experiment_id, tags=tags, run_name=name).info.run_id
            return
        run.id = known.info.run_id
        run.finished_at = known.info.end_time if known.info.status == "FINISHED" else None
        run.last_steps = {metric.key: metric.step for metric in known.data.to_proto().metrics}
        run.known_params = frozenset(known.data.params)
        self._client.update_run(run.id, status="RUNNING")
        self._log_batch(run, tags=[RunTag(*item) for item in tags.items()])

    def _find(self, run_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            found = None
        if found is None or found.info.lifecycle_stage == "deleted":
            log.warning("MLflow: the run %s to go on with is not there any more; a new one is begun.", run_id)
            return None
        return found

    def _log_params(self, run: "OpenRun", params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        def send(some: Sequence[Param]) -> None:
            # a param cannot be changed, so a resumed run keeps those that it began with
            self._log_batch(run, params=[param for param in some if param.key not in run.known_params])

        for some in batched([Param(*item) for item in params.items()], MOST_OTHERS):
            self._outbox.send(partial(send, some))

    def _log_batch(self, run: "OpenRun", **entries: Any) -> None:
        self._client.log_batch(run.id, **entries)

    def _log_model(self, run: "OpenRun", folder: Path, name: str, metrics: Mapping[str, float], note: str) -> None:
        from mlflow.entities import LoggedModelOutput

        if not folder.is_dir():  # MLflow would upload nothing, and say nothing
            raise FileNotFoundError(f"{folder}: the model's files are gone")
        model = self._client.create_logged_model(
            self._experiment_id, name, source_run_id=run.id, tags={NOTE: note[:MOST_NOTE]}
        )
        self._client.log_model_artifacts(model.model_id, str(folder))
        self._client.finalize_logged_model(model.model_id, "READY")
        self._client.log_outputs(run.id, [LoggedModelOutput(model.model_id, step=0)])
        for key, value in metrics.items():
            self._client.log_metric(run.id, key, value, step=run.step_after([key]), model_id=model.model_id)

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


@dataclass
class OpenRun:
    """A run while it lasts."""

    around: "OpenRun | None"
    id: str | None = None
    """Unknown until the store has answered."""
    last_steps: Mapping[str, int] = field(default_factory=dict)
    """By metric, of what the run that is resumed has already."""
    known_params: frozenset[str] = frozenset()
    finished_at: int | None = None
    """When the run that is resumed had come to its end, in ms; None if it had not."""

    def step_after(self, metrics: Iterable[str]) -> int:
        """The first that none of these metrics has yet."""
        return 1 + max((self.last_steps.get(name, -1) for name in metrics), default=-1)


def is_hopeless(error: Exception) -> bool:
    """Whether the call itself was wrong, rather than the store away, locked or full."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code not in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
    return not isinstance(error, OSError) or isinstance(error, FileNotFoundError)


def batched(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The items in parts of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def flatten(tree: Mapping[str, object]) -> dict[str, str]:
    """A tree of settings as `stages.1.weighting.kind: uncertainty`, each value as one would type it."""
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
