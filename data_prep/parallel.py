"""The same function over many pieces of work, on several processors."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import starmap
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

PIECES_WORTH_A_WORKER = 8
"""A worker takes about as long to start as this many pieces take to do."""


def in_parallel(
    function: Callable[..., Result], pieces: Sequence[tuple[object, ...]], workers: int
) -> Iterator[Result]:
    """The results of function(*piece), in the order in which they are ready; in this very process for one worker."""
    workers = min(workers, len(pieces) // PIECES_WORTH_A_WORKER)
    if workers <= 1:
        yield from starmap(function, pieces)
        return
    # Forking would copy the threads' locks of a parent that has loaded torch.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), leave_interrupts_to_the_parent)
    try:
        for future in as_completed([pool.submit(function, *piece) for piece in pieces]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
