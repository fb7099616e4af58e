"""Processes of a parallel training, called ranks: their group, their share of a batch, and values that they agree on.

`torchrun --nproc-per-node 2 -m ecgmtl train …` starts them. Every rank samples the whole batch and takes its share, so
that a batch has the same records, crops and masks on any number of ranks.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Int64
from torch import Tensor

T = TypeVar("T")

FOR_ALL = ContextVar("FOR_ALL", default=False)
"""Whether the first process computes something while the others wait, so that it must not wait for them."""


@contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes where `torchrun` started this one; otherwise do nothing. Each has a GPU of its own."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    _join("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        leave()


def _join(backend: str) -> None:
    """Form the group.

    Processes that are started again find the store of those before them, and would connect to addresses there that
    no longer exist. So each start has keys of its own, where one node counts the starts.
    """
    if os.environ.get("GROUP_WORLD_SIZE") != "1":
        dist.init_process_group(backend)
        return
    from torch.distributed.distributed_c10d import PrefixStore  # a torch without parallel training has neither
    from torch.distributed.rendezvous import rendezvous

    store, own, count = next(rendezvous("env://"))
    start = PrefixStore(f"start-{n_restarts()}", store)
    dist.init_process_group(backend, store=start, rank=own, world_size=count)


def leave() -> None:
    """Leave the group: from here on each rank works by itself."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def is_parallel() -> bool:
    """Return whether this process is one of several that train together, and not the first one working for all."""
    return dist.is_available() and dist.is_initialized() and not FOR_ALL.get()


def is_first() -> bool:
    """Return whether this process writes what all of them have computed. It still does after `leave`."""
    return dist.get_rank() == 0 if is_parallel() else os.environ.get("RANK", "0") == "0"


def rank() -> int:
    """Return the number of this process, 0 without a group."""
    return dist.get_rank() if is_parallel() else 0


def n_ranks() -> int:
    """Return the number of processes, 1 without a group."""
    return dist.get_world_size() if is_parallel() else 1


def was_restarted() -> bool:
    """Return whether `torchrun` started these processes again after one of them had failed."""
    return n_restarts() > 0


def n_restarts() -> int:
    """Return how often `torchrun` has started these processes again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def own_rows(n_rows: int) -> Int64[Tensor, " row"]:
    """Return this rank's share of the rows of a batch: as much of its first half as of its second one.

    The halves stay apart, because diagnostics compare them.

    Raises:
        ValueError: the rows cannot be shared evenly.
    """
    share, rest = divmod(n_rows, 2 * n_ranks())
    if rest:
        raise ValueError(f"{n_rows} records cannot be shared by {n_ranks()} processes, in halves; {2 * n_ranks()} can")
    first = torch.arange(share) + rank() * share
    return torch.cat([first, first + n_rows // 2])


def average_over_ranks(values: Tensor) -> Tensor:
    """Average values over the ranks of a parallel training. With one process, return them unchanged."""
    if not is_parallel():
        return values
    summed = values.clone()
    dist.all_reduce(summed)  # a sum: not every backend has the mean
    return summed / dist.get_world_size()


def mean_over_ranks(values: Tensor) -> Tensor:
    """Average values over the ranks, with a gradient: that of the mean of the ranks' losses."""
    averaged: Tensor = Mean.apply(values) if is_parallel() else values  # type: ignore[no-untyped-call]  # torch's
    return averaged


class Mean(torch.autograd.Function):
    """Mean over ranks. Each rank's loss depends on the values of all, so their gradients are averaged too."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        return average_over_ranks(values)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return average_over_ranks(gradient.contiguous())


def from_first(compute: Callable[[], T]) -> T:
    """Compute a value in the first process alone, and return it in all of them; likewise an error."""
    if not is_parallel():
        return compute()
    outcome: list[Any] = [None, None]
    if is_first():
        token = FOR_ALL.set(True)
        try:
            outcome[0] = compute()
        except Exception as error:  # noqa: BLE001  (the others would wait for it forever)
            outcome[1] = error
        finally:
            FOR_ALL.reset(token)
    dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    value: T = outcome[0]
    return value


def wait_for_all() -> None:
    """Wait until every rank is here."""
    if is_parallel():
        dist.barrier()
