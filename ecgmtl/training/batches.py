"""The batches of an epoch: order, crops, augmentation and masks, all drawn on the device."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ecgmtl.config.stage import Stage
from ecgmtl.data.augment import augment, sample_positions
from ecgmtl.data.batch import Batch
from ecgmtl.data.masking import sample_mask
from ecgmtl.data.split import Split


class Dice(NamedTuple):
    """A generator for each thing that is drawn: stages that differ in one of them still meet in the others."""

    order: torch.Generator
    """Of records, and of the places where they are cut."""
    pairs: torch.Generator
    disturbances: torch.Generator
    masks: torch.Generator


@dataclass(frozen=True)
class Batches:
    """What a stage learns from. Randomness depends on (seed, place of the stage, epoch) alone, so no state is kept."""

    split: Split
    stage: Stage
    seed: tuple[int, int]
    """The run's, and which stage of it this is."""

    @property
    def n_batches(self) -> int:
        """An epoch's; as many where few records are labelled, so that steps mean the same."""
        # a last batch of a few records would make noisy steps and starve BatchNorm, so it is left to the next epoch
        return max(1, len(self.split) // self.stage.batch_size)

    @property
    def n_records(self) -> int:
        """Seen in an epoch."""
        return self.n_batches * min(self.stage.batch_size, len(self.split))

    def seed_epoch(self, epoch: int) -> Dice:
        """Dropout draws from torch's own generator."""
        first, *seeds = (int(seed) for seed in np.random.SeedSequence([*self.seed, epoch]).generate_state(5))
        torch.manual_seed(first)
        return Dice._make(torch.Generator(self.split.device).manual_seed(seed) for seed in seeds)

    def draw(self, epoch: int) -> Iterator[Batch]:
        dice = self.seed_epoch(epoch)
        for place, index in enumerate(self.order(dice.order)):
            progress = (epoch + place / self.n_batches) / self.stage.epochs
            yield self.batch(index, progress, dice)

    def order(self, generator: torch.Generator) -> list[Int64[Tensor, " batch"]]:
        """Which records each batch has: a stage that learns labels sees the labelled ones alone, over and over."""
        device = self.split.device
        usable = torch.arange(len(self.split), device=device)
        if self.stage.learns_labels:
            usable = usable[torch.from_numpy(self.split.labelled).to(device)]
        rounds = -(-self.n_records // len(usable))
        order = [usable[torch.randperm(len(usable), generator=generator, device=device)] for _ in range(rounds)]
        return list(torch.cat(order)[: self.n_records].split(self.stage.batch_size))

    def batch(self, index: Int64[Tensor, " batch"], progress: float, dice: Dice) -> Batch:
        stage, split = self.stage, self.split
        index = index.repeat_interleave(stage.n_views)
        places = sample_positions(len(index), split.n_samples, split.fs, stage.augment, dice.order)
        batch = augment(split.batch(index, places), split.fs, stage.augment, dice.pairs, dice.disturbances)
        if not stage.masks:
            return batch
        masking = stage.masking.at(progress)
        mask = sample_mask((len(index), places.shape[1]), split.fs, masking, dice.masks)
        return batch._replace(mask=mask, scored=masking.scores(mask))
