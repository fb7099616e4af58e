"""Tracker: MLflow behind a few methods, and one that does nothing.

Runs go to MLflow's own default store, `mlflow.db` in the working folder with artifacts under `mlruns/`, so that a
plain `mlflow ui` shows them; the environment variable MLFLOW_TRACKING_URI names another.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ecgmtl.tracking.mlflow_tracker import MlflowTracker
from ecgmtl.tracking.store import (
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

EXPERIMENT = "ecgmtl"
"""Where all runs are found in MLflow."""


@runtime_checkable
class Tracker(Protocol):
    """Notes what ran, with which settings, and how it went."""

    @property
    def active_run_id(self) -> str | None:
        """MLflow's id of the innermost open run; None where there is none, or none yet."""

    def run(
        self,
        name: str,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, object],
        note: str = "",
        resume: str | None = None,
    ) -> AbstractContextManager[str | None]:
        """An open run, at its end FINISHED, FAILED or KILLED; within another run a nested one.

        `resume` is the id of the run to go on with: only steps beyond its last ones are added to it.
        """

    def log_metrics(self, metrics: Mapping[str, float], step: int, parent_offset: int | None = None) -> None:
        """Figures of one step, without those that are not finite.

        With `parent_offset` they also go to the run around this one, at this many steps more.
        """

    def log_steps(
        self, rows: Mapping[str, Float[np.ndarray, " step"]], first_step: int, parent_offset: int | None = None
    ) -> None:
        """The same figures of many successive steps, otherwise as `log_metrics`."""

    def log_final(self, metrics: Mapping[str, float]) -> None:
        """Figures of the whole run; those of a run that is gone on with take the place of what it had before."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Short facts about the run, shown beside it and searchable."""

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """A file, or a folder with all that is in it."""

    def log_input(self, name: str, digest: str, source: str, n_records: Mapping[str, int]) -> None:
        """The data that the run learns from: `digest` identifies it, `n_records` counts each split."""

    def log_model(self, folder: Path, name: str, metrics: Mapping[str, float], note: str = "") -> None:
        """A model saved by MLflow in `folder`, with the figures that speak for it and a description in Markdown."""


class NoTracker:
    """Notes nothing."""

    active_run_id: str | None = None

    def run(self, *_: object, **__: object) -> AbstractContextManager[str | None]:
        return nullcontext()

    def log_metrics(self, metrics: Mapping[str, float], step: int, parent_offset: int | None = None) -> None: ...

    def log_steps(
        self, rows: Mapping[str, Float[np.ndarray, " step"]], first_step: int, parent_offset: int | None = None
    ) -> None: ...

    def log_final(self, metrics: Mapping[str, float]) -> None: ...

    def set_tags(self, tags: Mapping[str, str]) -> None: ...

    def log_artifact(self, path: Path, folder: str = "") -> None: ...

    def log_input(self, name: str, digest: str, source: str, n_records: Mapping[str, int]) -> None: ...

    def log_model(self, folder: Path, name: str, metrics: Mapping[str, float], note: str = "") -> None: ...


def open_tracker(experiment: str, enabled: bool = True, around: str | None = None) -> Tracker:
    """A tracker for the runs of `experiment`, nested in the run with the id `around` where one is given.

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
    return MlflowTracker(client, experiment_id, around)
