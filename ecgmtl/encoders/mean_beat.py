"""The mean beat of a record: what its beats have in common, without what befalls one of them alone."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ecgmtl.leads import N_LEADS, spread_scores

LEAST = 0.4
"""How steep a beat is at least, as a part of the steepest moments round about."""


@torch.no_grad()
def mean_beat(rows: Float[Tensor, "batch row time"], before: int, after: int) -> Float[Tensor, "batch row offset"]:
    """The rows that an encoder sees, averaged over the beats from `before` samples before them to `after` after.

    What is hidden counts nothing: a lead's mean is over the beats that show it, and 0 where none does. The rows that
    tell what is hidden become the share of beats of which it was. A record without beats has 0 throughout. Nothing is
    learnt through it.
    """
    with torch.autocast(rows.device.type, enabled=False):  # a sum over beats would lose what bf16 keeps of each
        rows = rows.float()
        signals, hidden = rows[:, :N_LEADS], rows[:, N_LEADS:]
        visible = 1 - spread_scores(hidden) if hidden.shape[1] else torch.ones_like(signals[:, :1])
        about = offsets(find_beats(steepness(signals, visible), before + after), before, after)
        shown = signals @ about / (visible @ about).clamp(min=1)
        n_beats = about.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.cat([shown, hidden @ about / n_beats], dim=1) if hidden.shape[1] else shown


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
    smooth = running(F.avg_pool1d, steep, beat // 13)
    level = running(F.max_pool1d, smooth, 2 * beat).mean(dim=-1, keepdim=True)
    return ((smooth == running(F.max_pool1d, smooth, beat // 2)) & (smooth > LEAST * level)).to(steep.dtype)


def running(
    pool: Callable[[Tensor, int, int, int], Tensor], values: Float[Tensor, "batch time"], width: int
) -> Float[Tensor, "batch time"]:
    """What a pool gives of as many samples about each, or of one more."""
    half = width // 2
    return pool(values[:, None], 2 * half + 1, 1, half)[:, 0]


def offsets(beats: Float[Tensor, "batch time"], before: int, after: int) -> Float[Tensor, "batch time offset"]:
    """1 where a sample lies so far from a beat: signals times it are, for each offset, summed over the beats."""
    n_samples, padded = beats.shape[-1], F.pad(beats, (after, before))
    shifted = [padded[:, start : start + n_samples] for start in range(before + after, 0, -1)]
    return torch.stack(shifted, dim=1).transpose(1, 2)
