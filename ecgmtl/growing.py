"""What the forest beside the network is grown on: the labelled records, and what they are without voltages of leads."""

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from data_prep.lost_voltage import EACH_LEAD, to_typical
from ecgmtl.data import Split
from ecgmtl.forest import Forest, ForestSettings, grow
from ecgmtl.measurements import in_rows, measure
from ecgmtl.validation import BATCH


def grow_forest(settings: ForestSettings, train: Split, seed: int) -> Forest:
    """A forest for the labels of the main task."""
    labelled = train.select(train.labelled)
    measured = {kind: rows.cpu().numpy() for kind, rows in measure_kinds(labelled).items()}
    return grow(measured, labelled.labels.cpu().numpy() > 0, settings, seed, train.fs).to(train.device)


@torch.no_grad()
def measure_kinds(split: Split) -> dict[str, Float32[Tensor, "record measurement"]]:
    """Of records as they are, and of the same at one size of all leads."""
    rows = [
        (rows_of(batch.signals, split.fs), rows_of(without_voltages(batch.signals), split.fs))
        for batch in split.in_order(BATCH)
    ]
    kept, lost = (torch.cat(kind) for kind in zip(*rows, strict=True))
    return {"kept": kept, "lost": lost}


def rows_of(signals: Float[Tensor, "batch 12 time"], fs: float) -> Float32[Tensor, "batch measurement"]:
    return in_rows(measure(signals, None, fs))


def without_voltages(signals: Float[Tensor, "batch 12 time"]) -> Float[Tensor, "batch 12 time"]:
    return torch.from_numpy(to_typical(signals.cpu().numpy(), EACH_LEAD)).to(signals.device)
