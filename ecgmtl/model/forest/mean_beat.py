"""The mean beat of a record, which averages out what differs from beat to beat."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LEAST = 0.4
"""Least steepness of a beat, as a fraction of the steepest moments around it."""
TILT = 1e-6
"""Relative increase per sample that breaks ties: of two equally high moments the later one counts as higher."""


def mean_beat(
    signals: Float[Tensor, "batch 12 time"],
    visible: Float[Tensor, "batch _ time"],
    beats: Float[Tensor, "batch time"],
    before: int,
    after: int,
) -> tuple[Float[Tensor, "batch 12 offset"], Float[Tensor, "batch 12 offset"]]:
    """Compute mean and variance over a record's beats, from `before` samples before them to `after` after.

    `visible` is 1 where a sample counts, in one row for all leads or one for each. `beats` are those of `find_beats`
    for beats of this length, so that they lie apart. A lead's mean is over the beats in which it is visible, and 0
    without any.
    """
    n_leads, n_samples, width = signals.shape[1], signals.shape[2], before + after
    most = n_samples // (reach(width) + 1) + 1
    index = torch.arange(n_samples, device=beats.device)
    none = n_samples + before  # where only padding is: so many samples further, everything is 0
    moments = torch.where(beats > 0, index, none).topk(min(most, n_samples), dim=-1, largest=False).values
    counted = signals * visible
    rows = torch.cat([counted, counted.square(), visible], dim=1)
    rows = F.pad(rows, (before, before + width)).transpose(1, 2)  # all values of a moment side by side in memory
    record = torch.arange(rows.shape[0], device=rows.device)[:, None, None] * rows.shape[1]
    window = record + moments[..., None] + torch.arange(width, device=rows.device)
    about = rows.flatten(0, 1).index_select(0, window.flatten()).unflatten(0, (-1, moments.shape[1], width))
    total, squares, counts = about.sum(dim=1).transpose(1, 2).split([n_leads, n_leads, visible.shape[1]], dim=1)
    counts = counts.clamp(min=1)
    mean = total / counts
    return mean, (squares / counts - mean.square()).clamp(min=0)


def steepness(
    signals: Float[Tensor, "batch 12 time"], visible: Float[Tensor, "batch _ time"]
) -> Float[Tensor, "batch time"]:
    """Compute how much all leads change around a sample. The edge of a mask does not count as a change."""
    change = (signals[..., 2:] - signals[..., :-2]).abs() * visible[..., 2:] * visible[..., :-2]
    return F.pad(change.sum(dim=1), (1, 1))


def find_beats(steep: Float[Tensor, "batch time"], beat: int) -> Float[Tensor, "batch time"]:
    """Return 1 where a QRS complex is steepest, else 0: the steepest moments within a quarter of a beat around them.

    beat: length of a beat in samples.
    """
    smooth = tilted(running(F.avg_pool1d, steep, beat // 13))
    level = running(F.max_pool1d, smooth, 2 * beat).mean(dim=-1, keepdim=True)
    return ((smooth == running(F.max_pool1d, smooth, 2 * reach(beat))) & (smooth > LEAST * level)).to(steep.dtype)


def reach(beat: int) -> int:
    """Return the number of samples on either side of a beat in which there is no other. `beat` is its length."""
    return beat // 2 // 2


def tilted(values: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch time"]:
    """Return values without ties, which machines would break differently."""
    return values * (1 + TILT * torch.arange(values.shape[-1], device=values.device))


def running(
    pool: Callable[[Tensor, int, int, int], Tensor], values: Float[Tensor, "batch time"], width: int
) -> Float[Tensor, "batch time"]:
    """Pool over a window of `width` samples, or one more, around each sample."""
    half = width // 2
    return pool(values[:, None].float(), 2 * half + 1, 1, half)[:, 0]  # no runtime pools in float64
