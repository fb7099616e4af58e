"""The mean beat of a record, which averages out what differs from beat to beat."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LEAST = 0.4
"""Least steepness of a beat, as a fraction of the steepest moments around it."""
TILT = 1e-6
"""Relative increase a sample that breaks ties: of two equally high moments the later one counts as higher."""


def mean_beat(
    signals: Float[Tensor, "batch 12 time"],
    visible: Float[Tensor, "batch _ time"],
    beats: Float[Tensor, "batch time"],
    before: int,
    after: int,
) -> tuple[Float[Tensor, "batch 12 offset"], Float[Tensor, "batch 12 offset"]]:
    """Compute mean and variance over a record's beats, from `before` samples before them to `after` after.

    `visible` is 1 where a sample counts. A lead's mean is over the beats in which it is visible, and 0 without any.
    """
    # 1 where a sample has this offset from a beat, the latest first: signals times it are summed over the beats
    about = F.pad(beats, (after, before)).unfold(1, beats.shape[-1], 1)[:, 1:].transpose(1, 2)
    counts = (visible @ about).clamp(min=1)
    counted = signals * visible
    mean = counted @ about / counts
    variance = (counted.square() @ about / counts - mean.square()).clamp(min=0)
    return mean.flip(-1), variance.flip(-1)


def steepness(
    signals: Float[Tensor, "batch 12 time"], visible: Float[Tensor, "batch _ time"]
) -> Float[Tensor, "batch time"]:
    """Compute how much all leads change around a sample. The edge of a mask is no change."""
    change = (signals[..., 2:] - signals[..., :-2]).abs() * visible[..., 2:] * visible[..., :-2]
    return F.pad(change.sum(dim=1), (1, 1))


def find_beats(steep: Float[Tensor, "batch time"], beat: int) -> Float[Tensor, "batch time"]:
    """Return 1 where a QRS complex is steepest, else 0: the steepest moments within a quarter of a beat around them.

    beat: length of a beat in samples.
    """
    smooth = tilted(running(F.avg_pool1d, steep, beat // 13))
    level = running(F.max_pool1d, smooth, 2 * beat).mean(dim=-1, keepdim=True)
    return ((smooth == running(F.max_pool1d, smooth, beat // 2)) & (smooth > LEAST * level)).to(steep.dtype)


def tilted(values: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch time"]:
    """Return values without ties, which machines would break differently."""
    return values * (1 + TILT * torch.arange(values.shape[-1], device=values.device))


def running(
    pool: Callable[[Tensor, int, int, int], Tensor], values: Float[Tensor, "batch time"], width: int
) -> Float[Tensor, "batch time"]:
    """Pool over a window of `width` samples, or one more, around each sample."""
    half = width // 2
    return pool(values[:, None].float(), 2 * half + 1, 1, half)[:, 0]  # no runtime pools in float64
