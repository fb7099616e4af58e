"""The mean beat of a record: what its beats have in common, without what befalls one of them alone."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LEAST = 0.4
"""How steep a beat is at least, as a part of the steepest moments round about."""
TILT = 1e-6
"""Of two moments that are equally high the later counts as higher, by this part for each sample between them."""


def mean_beat(
    signals: Float[Tensor, "batch 12 time"],
    visible: Float[Tensor, "batch _ time"],
    beats: Float[Tensor, "batch time"],
    before: int,
    after: int,
) -> tuple[Float[Tensor, "batch 12 offset"], Float[Tensor, "batch 12 offset"]]:
    """Mean and variance over a record's beats, from `before` samples before them to `after` after.

    `visible` is 1 where a sample counts; a lead's mean is over the beats that show it, and 0 where none does.
    """
    # 1 where a sample lies so far from a beat, the latest first: signals times it are summed over the beats
    about = F.pad(beats, (after, before)).unfold(1, beats.shape[-1], 1)[:, 1:].transpose(1, 2)
    counts = (visible @ about).clamp(min=1)
    shown = signals * visible
    mean = shown @ about / counts
    variance = (shown.square() @ about / counts - mean.square()).clamp(min=0)
    return mean.flip(-1), variance.flip(-1)


def steepness(
    signals: Float[Tensor, "batch 12 time"], visible: Float[Tensor, "batch _ time"]
) -> Float[Tensor, "batch time"]:
    """By how much all leads change about a sample; the edge of what is hidden is no change."""
    change = (signals[..., 2:] - signals[..., :-2]).abs() * visible[..., 2:] * visible[..., :-2]
    return F.pad(change.sum(dim=1), (1, 1))


def find_beats(steep: Float[Tensor, "batch time"], beat: int) -> Float[Tensor, "batch time"]:
    """1 where a QRS complex is steepest, else 0: the steepest moments for a quarter of a beat before and after them.

    `beat` is the length of one, in samples.
    """
    smooth = tilted(running(F.avg_pool1d, steep, beat // 13))
    level = running(F.max_pool1d, smooth, 2 * beat).mean(dim=-1, keepdim=True)
    return ((smooth == running(F.max_pool1d, smooth, beat // 2)) & (smooth > LEAST * level)).to(steep.dtype)


def tilted(values: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch time"]:
    """Without ties, which one machine would break in another way than the next."""
    return values * (1 + TILT * torch.arange(values.shape[-1], device=values.device))


def running(
    pool: Callable[[Tensor, int, int, int], Tensor], values: Float[Tensor, "batch time"], width: int
) -> Float[Tensor, "batch time"]:
    """What a pool gives of as many samples about each, or of one more."""
    half = width // 2
    return pool(values[:, None].float(), 2 * half + 1, 1, half)[:, 0]  # no runtime pools in float64
