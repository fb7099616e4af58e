"""Training of the boosted trees, on the labeled records and on copies of them without voltages."""

from collections.abc import Callable
from itertools import count

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from data_prep.progress import ProgressCallback
from data_prep.quality.lost_voltage import EACH_LEAD, to_typical
from ecgmtl.data.split import AT_A_TIME, Split
from ecgmtl.model.forest.forest import KINDS, Forest, ForestSettings, grow
from ecgmtl.model.forest.measurements import in_rows, measure


def grow_forest(
    settings: ForestSettings, train: Split, seed: int, progress: ProgressCallback = lambda *_: None
) -> Forest:
    """Train boosted trees for the labels of the main task. `progress` is called with the steps done and all steps."""
    labeled = train.select(train.labeled)
    n_steps = -(-len(labeled) // AT_A_TIME) + len(KINDS) * labeled.labels.shape[1]
    done = count(1)

    def advance() -> None:
        progress(next(done), n_steps)

    measured = {kind: rows.cpu().numpy() for kind, rows in measure_kinds(labeled, advance).items()}
    return grow(measured, labeled.labels.cpu().numpy() > 0, settings, seed, train.fs, advance).to(train.device)


@torch.no_grad()
def measure_kinds(
    split: Split, advance: Callable[[], None] = lambda: None
) -> dict[str, Float32[Tensor, "record measurement"]]:
    """Measure records as they are, and with all leads scaled to one size. `advance` is called after every batch."""
    rows = []
    for batch in split.in_order():
        rows.append((rows_of(batch.signals, split.fs), rows_of(without_voltages(batch.signals), split.fs)))
        advance()
    kept, lost = (torch.cat(kind) for kind in zip(*rows, strict=True))
    return {"kept": kept, "lost": lost}


def rows_of(signals: Float[Tensor, "batch 12 time"], fs: float) -> Float32[Tensor, "batch measurement"]:
    return in_rows(measure(signals, None, fs))


def without_voltages(signals: Float[Tensor, "batch 12 time"]) -> Float[Tensor, "batch 12 time"]:
    return torch.from_numpy(to_typical(signals.cpu().numpy(), EACH_LEAD)).to(signals.device)
