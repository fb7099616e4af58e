"""A function applied to many pieces of work, in several processes where that saves time."""

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from threading import Thread
from time import perf_counter
from typing import Any, TypeVar

Result = TypeVar("Result")
Engine = Callable[[Callable[..., Any], Sequence[tuple[object, ...]], int], Generator[Any, None, None]]
"""Function that yields the results of another one for pieces of work, computed by so many workers, in any order."""
OrderedEngine = Callable[[Callable[..., Any], Iterable[tuple[object, ...]], int], Generator[Any, None, None]]
"""The same, but in the order of the pieces."""

SECONDS_WORTH_WORKERS = 4.0
"""Remaining work in seconds below which starting workers takes longer than they save."""
PIECES_LOOKED_AT = 16
"""Number of pieces ahead by which the remaining work is estimated."""
PIECES_A_WORKER = 2
"""Number of pieces that are handed out ahead for each worker."""


def in_parallel(
    function: Callable[..., Result], pieces: Sequence[tuple[object, ...]], workers: int
) -> Generator[Result, None, None]:
    """Yield the results of function(*piece), in the order in which they are completed."""
    begun = perf_counter()
    for done, piece in enumerate(pieces, start=1):
        yield function(*piece)
        left = (perf_counter() - begun) / done * (len(pieces) - done)
        if workers > 1 and left > SECONDS_WORTH_WORKERS:
            yield from in_workers(function, pieces[done:], workers)
            return


def in_order(
    function: Callable[..., Result], pieces: Iterable[tuple[object, ...]], workers: int
) -> Generator[Result, None, None]:
    """Yield the results of function(*piece) in the order of the pieces, which are taken only a few ahead."""
    remaining, ahead, seconds = iter(pieces), deque[tuple[object, ...]](), 0.0
    while workers == 1 or seconds * len(ahead) <= SECONDS_WORTH_WORKERS:
        ahead += islice(remaining, (PIECES_LOOKED_AT if workers > 1 else 1) - len(ahead))
        if not ahead:
            return
        begun = perf_counter()
        result = function(*ahead.popleft())
        seconds = perf_counter() - begun
        yield result
    pool, futures = open_pool(workers), deque[Future[Result]]()
    try:
        for piece in chain(ahead, remaining):
            futures.append(pool.submit(function, *piece))
            if len(futures) > PIECES_A_WORKER * workers:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def in_workers(
    function: Callable[..., Result], pieces: Sequence[tuple[object, ...]], workers: int
) -> Generator[Result, None, None]:
    """Yield the same results from worker processes."""
    pool = open_pool(min(workers, len(pieces)))
    try:
        for future in as_completed([pool.submit(function, *piece) for piece in pieces]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def open_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of processes that end with this one."""
    # forking would copy the locks of the threads of a parent that has loaded torch
    return ProcessPoolExecutor(workers, get_context("spawn"), begin_worker)


def n_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def begin_worker() -> None:
    """Leave Ctrl-C to the parent process, and end with it if it is killed: an idle worker would wait forever.

    NumPy, which a worker imports with its first piece, multiplies matrices in one thread, since there is a worker for
    each core.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """End this process as soon as its parent is killed."""

    def wait() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    Thread(target=wait, daemon=True).start()
