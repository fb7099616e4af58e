"""Batches of an epoch: order, crops, augmentation and masks, all sampled on the device."""

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


class Generators(NamedTuple):
    """A random generator for each purpose. Stages that differ in one of them still have the others in common."""

    order: torch.Generator
    """For the order of records and the positions of their crops."""
    pairs: torch.Generator
    """For the pairs of records of mixup."""
    perturbations: torch.Generator
    """For noise and other augmentation of a single record."""
    masks: torch.Generator


@dataclass(frozen=True)
class Batches:
    """Batches of a stage. Randomness depends only on (seed, index of the stage, epoch), so no state is kept."""

    split: Split
    stage: Stage
    seed: tuple[int, int]
    """Seed of the run, and index of the stage."""

    @property
    def n_batches(self) -> int:
        """Number of batches in an epoch. It does not depend on how many records are labeled."""
        # a last batch of a few records would make noisy steps and starve BatchNorm, so it is left to the next epoch
        return max(1, len(self.split) // self.stage.batch_size)

    @property
    def n_records(self) -> int:
        """Number of records in an epoch."""
        return self.n_batches * min(self.stage.batch_size, len(self.split))

    def seed_epoch(self, epoch: int) -> Generators:
        """Seed torch's own generator, which dropout uses, and return the generators of the epoch."""
        first, *seeds = (int(seed) for seed in np.random.SeedSequence([*self.seed, epoch]).generate_state(5))
        torch.manual_seed(first)
        return Generators._make(torch.Generator(self.split.device).manual_seed(seed) for seed in seeds)

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        generators = self.seed_epoch(epoch)
        for number, index in enumerate(self.order(generators.order)):
            progress = (epoch + number / self.n_batches) / self.stage.epochs
            yield self.batch(index, progress, generators)

    def order(self, generator: torch.Generator) -> list[Int64[Tensor, " batch"]]:
        """Return the records of each batch. A stage that learns labels uses the labeled records alone, repeatedly."""
        device = self.split.device
        usable = torch.arange(len(self.split), device=device)
        if self.stage.learns_labels:
            usable = usable[torch.from_numpy(self.split.labeled).to(device)]
        rounds = -(-self.n_records // len(usable))
        order = [usable[torch.randperm(len(usable), generator=generator, device=device)] for _ in range(rounds)]
        return list(torch.cat(order)[: self.n_records].split(self.stage.batch_size))

    def batch(self, index: Int64[Tensor, " batch"], progress: float, generators: Generators) -> Batch:
        stage, split = self.stage, self.split
        index = index.repeat_interleave(stage.n_views)
        positions = sample_positions(len(index), split.n_samples, split.fs, stage.augment, generators.order)
        crops = split.batch(index, positions)
        batch = augment(crops, split.fs, stage.augment, generators.pairs, generators.perturbations)
        if not stage.masks:
            return batch
        masking = stage.masking.at(progress)
        mask = sample_mask((len(index), positions.shape[1]), split.fs, masking, generators.masks)
        return batch._replace(mask=mask, scored=masking.scores(mask))
