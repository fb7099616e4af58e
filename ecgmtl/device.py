"""On what a run computes, in which precision, and whether compiled; decided once, at the border."""

from contextlib import AbstractContextManager
from typing import Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._functorch import config as functorch

Precision = Literal["auto", "fp32", "bf16"]


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_in_bf16(device: torch.device) -> bool:
    """Whether bf16 is arithmetic of this processor, not an emulation slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Matrix products in bf16 where asked for, or where `auto` finds that the processor computes in it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=resolve(precision, device) == "bf16")


def resolve(precision: Precision, device: torch.device) -> Precision:
    """Return what `auto` means on this machine."""
    if precision == "auto":
        return "bf16" if computes_in_bf16(device) else "fp32"
    return precision


def compiled(network: nn.Module, backend: str = "inductor") -> nn.Module:
    """The network compiled, so that several backward passes can go through one forward pass, a task each."""
    functorch.donated_buffer = False
    return cast("nn.Module", torch.compile(network, backend=backend))


def average_over_ranks(values: Tensor) -> Tensor:
    """The mean over the ranks of a parallel training; the values themselves where there is but one process."""
    if not (dist.is_available() and dist.is_initialized()):
        return values
    summed = values.clone()
    dist.all_reduce(summed)  # a sum: not every backend knows the mean
    return summed / dist.get_world_size()
