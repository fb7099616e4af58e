"""A function applied to many pieces of work, in several processes where that saves time."""

import os
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from threading import Thread
from time import perf_counter
from typing import TypeVar

Result = TypeVar("Result")

SECONDS_WORTH_WORKERS = 4.0
"""Remaining work in seconds below which starting workers takes longer than they save."""


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


def in_workers(
    function: Callable[..., Result], pieces: Sequence[tuple[object, ...]], workers: int
) -> Generator[Result, None, None]:
    """Yield the same results from worker processes."""
    # forking would copy the locks of the threads of a parent that has loaded torch
    pool = ProcessPoolExecutor(min(workers, len(pieces)), get_context("spawn"), follow_parent)
    try:
        for future in as_completed([pool.submit(function, *piece) for piece in pieces]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def follow_parent() -> None:
    """Leave Ctrl-C to the parent process, and end with it if it is killed: an idle worker would wait forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)
