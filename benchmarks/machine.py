"""Measured rates of a machine, and counted FLOPs and bytes of a computation."""

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
"""Records, input and output channels, kernel size and frames of a layer in the middle of the default encoder."""


class Rates(NamedTuple):
    """Rates of arithmetic in one precision, in GFLOP/s, and of memory, in GB/s."""

    matmul: float
    convolution: float
    memory: float
    """Bytes read plus bytes written in a copy that is much larger than the caches."""

    @property
    def peak(self) -> float:
        return max(self.matmul, self.convolution)


@dataclass
class Work:
    """Work of one call."""

    flops: float
    """FLOPs of matrix products and convolutions, two for each multiply-add. Fourier transforms are not counted."""
    n_bytes: float
    """Bytes that all operations read and write, if nothing stays in a cache between two of them."""
    n_operations: int
    """Number of operations that compute or move anything."""

    def floor(self, rates: Rates) -> float:
        """Return the lower bound for the seconds that these operations take without caches."""
        return max(self.flops / (1e9 * rates.peak), self.n_bytes / (1e9 * rates.memory))

    def limit(self, rates: Rates) -> str:
        """Return what sets the lower bound: "FLOPs" or "bytes"."""
        computing, moving = self.flops / (1e9 * rates.peak), self.n_bytes / (1e9 * rates.memory)
        return "FLOPs" if computing >= moving else "bytes"


class Bytes(TorchDispatchMode):
    """Context that counts the operations, and the bytes that they read and write. Views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.n_operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = {id(leaf): leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)}
            self.n_operations += 1
            self.total += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        return result


def count(work: Callable[[], object]) -> Work:
    """Count the work of one call. `work` is called twice."""
    with FlopCounterMode(display=False) as counted:
        work()
    with Bytes() as moved:
        work()
    return Work(float(counted.get_total_flops()), float(moved.total), moved.n_operations)


def clock_of(device: torch.device, processor: bool = False) -> Clock:
    """Return a clock for work on a device.

    For a GPU, it is the wall clock after all queued work is done. For a CPU, it is the wall clock, or with `processor`
    the processor time of all threads.
    """

    def on_device() -> float:
        torch.cuda.synchronize(device)
        return perf_counter()

    if device.type == "cuda":
        return on_device
    return process_time if processor else perf_counter


def seconds(work: Callable[[], object], clock: Clock, repeats: int = 9) -> float:
    """Return the shortest time of several calls, because other load on the machine only adds time."""
    taken = []
    for _ in range(repeats):
        begun = clock()
        work()
        taken.append(clock() - begun)
    return min(taken)


def measure(precision: torch.dtype, device: torch.device, clock: Clock) -> Rates:
    """Measure a large matrix product, a convolution and a copy."""
    size = 8192 if device.type == "cuda" else 1024
    matrix = torch.randn(size, size, device=device).to(precision)
    product = 2 * size**3 / seconds(lambda: matrix @ matrix, clock)
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
