"""Pieces of work as tasks of a Ray cluster: that of RAY_ADDRESS, or one of this machine's processes."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

from data_prep.extras import import_extra
from data_prep.parallel import PIECES_A_WORKER, n_cores

Result = TypeVar("Result")
RETRIES = 3
"""Number of times that a piece is restarted after its worker was killed. A part is written at once or not at all."""


def in_order_on_ray(
    function: Callable[..., Result], pieces: Iterable[tuple[object, ...]], workers: int
) -> Generator[Result, None, None]:
    """Yield the results of function(*piece) in the order of the pieces, as `data_prep.parallel.in_order` does.

    A piece whose worker is killed is restarted on another one. 0 `workers` mean as many as the cluster has CPUs.

    Raises:
        MissingExtraError: Ray is not installed.
        BrokenProcessPool: several workers were killed at the same piece.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its makers otherwise
    ray = import_extra("ray", "--engine ray")
    start(ray, workers)
    try:
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(run_in)
        most = PIECES_A_WORKER * (workers or int(ray.cluster_resources()["CPU"]))
        tasks: deque[Any] = deque()
        for piece in pieces:
            tasks.append(task.remote(Path.cwd(), function, *piece))
            if len(tasks) > most:
                yield result_of(ray, tasks.popleft())
        while tasks:
            yield result_of(ray, tasks.popleft())
    finally:
        ray.shutdown()  # ends the tasks of this process, and a cluster that it started


def start(ray: Any, workers: int) -> None:
    """Connect with the cluster of RAY_ADDRESS, or start one that ends with this process."""
    quiet = {"log_to_driver": False, "configure_logging": False}
    if "RAY_ADDRESS" in os.environ:
        ray.init(**quiet)
    else:
        ray.init("local", num_cpus=workers or n_cores(), include_dashboard=False, **quiet)


def run_in(folder: Path, function: Callable[..., Result], *piece: object) -> Result:
    """Return function(*piece), run in a folder, from which relative paths lead to the same files as here."""
    os.chdir(folder)
    return function(*piece)


def result_of(ray: Any, task: Any) -> Any:
    """Wait for a task. Its own error is raised as in this process."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError) as error:
        raise BrokenProcessPool(str(error)) from error
