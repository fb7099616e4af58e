"""The same function over many pieces of work, on several processors where that pays."""

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
"""Work that is left; with less of it, starting workers takes longer than they save."""


def in_parallel(
    function: Callable[..., Result], pieces: Sequence[tuple[object, ...]], workers: int
) -> Generator[Result, None, None]:
    """Yield the results of function(*piece), in the order in which they are ready."""
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
    """Yield the same results from processes of their own."""
    # Forking would copy the threads' locks of a parent that has loaded torch.
    pool = ProcessPoolExecutor(min(workers, len(pieces)), get_context("spawn"), follow_the_parent)
    try:
        for future in as_completed([pool.submit(function, *piece) for piece in pieces]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def follow_the_parent() -> None:
    """Leaves Ctrl-C to the parent, and ends with it should it be killed: an idle worker would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=end_with_the_parent, daemon=True).start()


def end_with_the_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)
