"""Interface of a tracker, a tracker that does nothing, and the choice between it and MLflow.

Runs go to MLflow's own default store, `mlflow.db` in the working folder with artifacts under `mlruns/`. A plain
`mlflow ui` therefore shows them. The environment variable MLFLOW_TRACKING_URI names another store.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ecgmtl.tracking.mlflow_tracker import MlflowTracker
from ecgmtl.tracking.store import (
    EXPERIMENT,
    TrackingError,
    end_abandoned_runs,
    find_experiment,
    has_store,
    import_mlflow,
    one_at_a_time,
    refuse_old_store,
    store_uri,
    unusable,
)

__all__ = ["EXPERIMENT", "NoTracker", "Tracker", "TrackingError", "has_store", "open_tracker"]


@runtime_checkable
class Tracker(Protocol):
    """Log of what ran, with which settings, and with what results."""

    @property
    def active_run_id(self) -> str | None:
        """MLflow's id of the innermost open run. None where there is none, or where it is not known yet."""

    def run(
        self,
        name: str,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, object],
        note: str = "",
        resume: str | None = None,
    ) -> AbstractContextManager[str | None]:
        """Open a run, nested if another one is open, and end it as FINISHED, FAILED or KILLED.

        `resume` is the id of a run to resume: only steps beyond its last ones are added to it.
        """

    def log_metrics(self, metrics: Mapping[str, float], step: int, parent_offset: int | None = None) -> None:
        """Log figures of one step, without those that are not finite.

        With `parent_offset` they are logged to the parent run too, with its steps this many higher.
        """

    def log_steps(
        self, rows: Mapping[str, Float[np.ndarray, " step"]], first_step: int, parent_offset: int | None = None
    ) -> None:
        """Log the same figures for many successive steps, otherwise as `log_metrics`."""

    def announce(self, metric: str) -> None:
        """Put a metric of a new run before all that are logged later. Its value is NaN until it is known."""

    def log_final(self, metrics: Mapping[str, float]) -> None:
        """Log figures of the whole run, of its model if it logged one, on the data set that was logged last.

        Those of a resumed run replace the earlier ones.
        """

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set short facts about the run, which are shown beside it and searchable."""

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Log a file, or a folder with everything in it."""

    def log_input(self, name: str, digest: str, source: str, n_records: Mapping[str, int]) -> None:
        """Log the data of the run. `digest` identifies it, and `n_records` counts the records of each split."""

    def log_model(
        self,
        folder: Path,
        name: str,
        description: str,
        params: Mapping[str, object],
        when_logged: Callable[[], object] = lambda: None,
    ) -> None:
        """Log a model that MLflow saved in `folder`, with a description in Markdown and facts by name.

        The folder may be removed afterwards. `when_logged` is called once MLflow has the model.
        """

    def register_model(self, name: str) -> str | None:
        """Register the run's model under a name and return its URI. None where MLflow has not confirmed it."""


class NoTracker:
    """Tracker that logs nothing."""

    active_run_id: str | None = None

    def run(self, *_: object, **__: object) -> AbstractContextManager[str | None]:
        return nullcontext()

    def log_metrics(self, metrics: Mapping[str, float], step: int, parent_offset: int | None = None) -> None: ...

    def log_steps(
        self, rows: Mapping[str, Float[np.ndarray, " step"]], first_step: int, parent_offset: int | None = None
    ) -> None: ...

    def announce(self, metric: str) -> None: ...

    def log_final(self, metrics: Mapping[str, float]) -> None: ...

    def set_tags(self, tags: Mapping[str, str]) -> None: ...

    def log_artifact(self, path: Path, folder: str = "") -> None: ...

    def log_input(self, name: str, digest: str, source: str, n_records: Mapping[str, int]) -> None: ...

    def log_model(self, *_: object, **__: object) -> None: ...

    def register_model(self, name: str) -> str | None: ...


def open_tracker(experiment: str, enabled: bool = True, parent: str | None = None) -> Tracker:
    """Return a tracker for the runs of `experiment`, nested in the run with the id `parent` if there is one.

    Runs that a process of this machine left open when it was killed are marked KILLED.

    Raises:
        TrackingError: the store cannot be used.
    """
    if not enabled:
        return NoTracker()
    refuse_old_store()
    mlflow = import_mlflow()
    uri = store_uri()
    try:
        with one_at_a_time(uri):
            client = mlflow.MlflowClient(uri)
            experiment_id = find_experiment(client, experiment)
            end_abandoned_runs(client, experiment_id)
    except TrackingError:
        raise
    except Exception as error:
        raise unusable(uri, error) from error
    return MlflowTracker(client, experiment_id, parent)
