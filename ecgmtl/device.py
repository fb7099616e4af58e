"""The computing environment of a run: device, precision, compilation."""

import ctypes
import gc
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, cast

import torch
from torch import nn
from torch._functorch import config as functorch

Precision = Literal["auto", "fp32", "bf16"]
SCARCE = re.compile(
    r"can't allocate memory|not enough memory|bad_alloc"
    r"|could not (create a primitive|create a memory object|execute a primitive)$"
)
"""A RuntimeError of torch, or of its oneDNN, for lack of the machine's memory. That of a GPU has its own class."""

M_MMAP_THRESHOLD = -3
"""Number of this setting in glibc's malloc.h: from which size on a block has pages of its own."""
LARGE = 2**20


def pick_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_in_bf16(device: torch.device) -> bool:
    """Return whether the processor computes in bf16 natively, not by an emulation slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which matrix products are bf16 if set, or if `auto` and the processor computes in it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=resolve(precision, device) == "bf16")


def resolve(precision: Precision, device: torch.device) -> Precision:
    """Return what `auto` means on this machine."""
    if precision == "auto":
        return "bf16" if computes_in_bf16(device) else "fp32"
    return precision


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the memory of the GPU or of the machine was too small."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and SCARCE.search(str(error)) is not None


def spare_address_space() -> None:
    """Let the C library give large blocks back when they are freed, if the address space is limited (`ulimit -v`).

    By default glibc keeps them, in pieces that need not fit the next batch: after one that was too large, not even one
    record fitted. A training needs half as much memory in this way, but more time, so it is done only under a limit.
    """
    try:
        import resource

        if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
            ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, LARGE)
    except (ImportError, OSError, AttributeError):
        return  # not Linux, or another C library


def free_memory() -> None:
    """Give back memory that nothing uses any more, to leave room for a smaller batch."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute convolutions and matrix products in fp32 on a GPU, too, whose default for convolutions is TF32.

    With TF32 probabilities differ from a CPU's by up to 3e-4.
    """
    backends = cast("Any", torch.backends.cudnn).conv, torch.backends.cuda.matmul
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def describe_device(device: torch.device) -> str:
    """Return the human-readable name of a device: for a GPU, its model."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def compiled(network: nn.Module, backend: str = "inductor") -> nn.Module:
    """Compile the network so that several backward passes, one for each task, can follow one forward pass."""
    functorch.donated_buffer = False
    return cast("nn.Module", torch.compile(network, backend=backend))
