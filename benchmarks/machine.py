"""What a machine can do, and what a piece of work asks of it: measured rates, counted FLOPs and bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

Clock = Callable[[], float]

CONVOLUTION = (64, 128, 128, 7, 64)
"""Records, features in and out, kernel and frames: the middle of the default encoder."""


class Rates(NamedTuple):
    """Of one precision, in GFLOP/s, and of memory, in GB/s."""

    matmul: float
    convolution: float
    memory: float
    """Copied, far beyond the caches: what is read and what is written, together."""

    @property
    def peak(self) -> float:
        return max(self.matmul, self.convolution)


@dataclass
class Work:
    """Asked of the machine by one call."""

    flops: float
    """Of products and convolutions, two for a multiplication with its addition; Fourier transforms are not counted."""
    n_bytes: float
    """Read and written by all operations, if nothing stayed in a cache between two of them."""
    n_operations: int
    """That compute or move anything."""

    def floor(self, rates: Rates) -> float:
        """Seconds below which it cannot be done by these operations without caches."""
        return max(self.flops / (1e9 * rates.peak), self.n_bytes / (1e9 * rates.memory))

    def limit(self, rates: Rates) -> str:
        computing, moving = self.flops / (1e9 * rates.peak), self.n_bytes / (1e9 * rates.memory)
        return "FLOPs" if computing >= moving else "bytes"


class Bytes(TorchDispatchMode):
    """Adds up the sizes of what every operation reads and writes; a view moves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.n_operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            held = {id(leaf): leaf for leaf in tree_leaves((args, kwargs, found)) if isinstance(leaf, Tensor)}
            self.n_operations += 1
            self.total += sum(leaf.numel() * leaf.element_size() for leaf in held.values())
        return found


def count(work: Callable[[], object]) -> Work:
    """What one call asks for; it is called twice."""
    with FlopCounterMode(display=False) as counted:
        work()
    with Bytes() as moved:
        work()
    return Work(float(counted.get_total_flops()), float(moved.total), moved.n_operations)


def clock_of(device: torch.device, processor: bool = False) -> Clock:
    """Seconds of the wall, when all that was asked of the device is done; or of the processor, all its threads'."""

    def on_device() -> float:
        torch.cuda.synchronize(device)
        return perf_counter()

    if device.type == "cuda":
        return on_device
    return process_time if processor else perf_counter


def seconds(work: Callable[[], object], clock: Clock, repeats: int = 9) -> float:
    """The shortest time of a call: what else the machine does only ever adds to it."""
    taken = []
    for _ in range(repeats):
        begun = clock()
        work()
        taken.append(clock() - begun)
    return min(taken)


def measure(precision: torch.dtype, device: torch.device, clock: Clock) -> Rates:
    size = 8192 if device.type == "cuda" else 1024
    one = torch.randn(size, size, device=device).to(precision)
    product = 2 * size**3 / seconds(lambda: one @ one, clock)
    records, n_in, n_out, kernel, frames = CONVOLUTION
    records = 64 * records if device.type == "cuda" else records
    signals = torch.randn(records, n_in, frames, device=device).to(precision)
    weight = torch.randn(n_out, n_in, kernel, device=device).to(precision)
    flops = 2 * records * frames * n_in * n_out * kernel
    convolved = flops / seconds(lambda: F.conv1d(signals, weight, padding=kernel // 2), clock)
    block = torch.zeros(64 << 20, dtype=torch.uint8, device=device)
    other = torch.empty_like(block)
    moved = 2 * block.numel() / seconds(lambda: other.copy_(block), clock)
    return Rates(product / 1e9, convolved / 1e9, moved / 1e9)
