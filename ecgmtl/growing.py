"""What the forest beside the network is grown on: the labelled records, and copies spoilt as the network's were."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ecgmtl.augment import augment, draw_places
from ecgmtl.data import Split
from ecgmtl.forest import Forest, ForestSettings, grow
from ecgmtl.measurements import in_rows, measure
from ecgmtl.model import Batch
from ecgmtl.stages import Stage
from ecgmtl.validation import BATCH

RARE = ("voltage_loss", "lead_voltage_loss", "arm_swap", "lead_dropout", "leads_missing")
"""What befalls a share of the records."""


def grow_forest(settings: ForestSettings, stage: Stage, train: Split, seed: int) -> Forest:
    """A forest for the labels of the main task; `stage` is the one that taught them to the network."""
    measured, labels = draw_measured(stage, train, seed)
    return grow(measured.cpu().numpy(), labels.cpu().numpy() > 0, settings, seed, train.fs).to(train.device)


def draw_measured(
    stage: Stage, train: Split, seed: int
) -> tuple[Float32[Tensor, "record measurement"], Float[Tensor, "record label"]]:
    """What is measured of the labelled records and of their spoilt copies, and their labels."""
    batches = list(draw_batches(train.select(train.labelled), stage, seed))
    measured = torch.cat([in_rows(measure(batch.shown, batch.hidden, train.fs)) for batch in batches])
    return measured, torch.cat([batch.labels for batch in batches])


def draw_batches(split: Split, stage: Stage, seed: int) -> Iterator[Batch]:
    """The records whole and as they are, then a crop of each, spoilt; no blends, for they have beats of two records."""
    yield from split.in_order(BATCH)
    twice = {name: min(2 * getattr(stage.augment, name), 1.0) for name in RARE}  # for half of all are not spoilt
    spoilt = stage.augment.model_copy(update={"mixup": 0.0, "shift": False} | twice)
    generator = torch.Generator(split.device).manual_seed(seed)
    for index in torch.arange(len(split), device=split.device).split(BATCH):
        places = draw_places(len(index), split.n_samples, split.fs, spoilt, generator)
        yield augment(split.batch(index, places), split.fs, spoilt, generator, generator)
