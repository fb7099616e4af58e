"""Batches of an epoch: order, crops, augmentation and masks, all sampled on the device."""

from collections.abc import Iterator, Sequence
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
from ecgmtl.optimization.diagnostics import part
from ecgmtl.ranks import is_parallel, own_rows, rank

MASKED_VIEW = 1
"""Seed-sequence key of a masked view of other records than the clean one's."""


class Generators(NamedTuple):
    """A random generator for each purpose. Stages that differ in one of them still have the others in common."""

    order: torch.Generator
    """Generator for the order of records and the positions of their crops."""
    pairs: torch.Generator
    """Generator for the pairs of records of mixup."""
    perturbations: torch.Generator
    """Generator for noise and other augmentation of a single record."""
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
        """Seed torch's own generator, which dropout uses, and return the generators of the epoch.

        The generators are the same in every rank of a parallel training, and dropout is not.
        """
        first, *seeds = seeds_of(*self.seed, epoch)
        torch.manual_seed(first + rank())
        return self.generators(seeds)

    def generators(self, seeds: Sequence[int]) -> Generators:
        return Generators._make(torch.Generator(self.split.device).manual_seed(seed) for seed in seeds)

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, augmented and masked, with the clean view where a task reads it."""
        generators = self.seed_epoch(epoch)
        # labeled records, their crops and mixups stay those of a stage without a masked view of other records
        others = self.generators(seeds_of(*self.seed, epoch, MASKED_VIEW)[1:]) if self.masks_other_records else None
        masked_order = self.shuffled(self.all_records, others.order) if others else []
        for number, index in enumerate(self.order(generators.order)):
            progress = (epoch + number / self.n_batches) / self.stage.epochs
            batch = self.crops(index, generators)
            if others:
                batch = self.crops(masked_order[number], others)._replace(clean=batch)
            elif self.stage.has_clean_view:
                batch = batch._replace(clean=batch)
            yield self.masked(batch, progress, generators.masks)

    def names_of(self, epoch: int, number: int) -> list[str]:
        """Return the names of a batch's records, as `of_epoch` sampled them. Torch's own generator is left alone."""
        index = self.order(self.generators(seeds_of(*self.seed, epoch)[1:]).order)[number].tolist()
        if self.masks_other_records:
            others = self.generators(seeds_of(*self.seed, epoch, MASKED_VIEW)[1:]).order
            index += self.shuffled(self.all_records, others)[number].tolist()
        return [self.split.names[record] for record in index]

    @property
    def masks_other_records(self) -> bool:
        """Whether the masked view also has records without labels."""
        return self.stage.masks_all_records and self.stage.learns_labels and not self.split.labeled.all()

    @property
    def all_records(self) -> Int64[Tensor, " record"]:
        return torch.arange(len(self.split), device=self.split.device)

    def order(self, generator: torch.Generator) -> list[Int64[Tensor, " batch"]]:
        """Return the records of each batch. A stage that learns labels uses the labeled records alone, repeatedly."""
        usable = self.all_records
        if self.stage.learns_labels:
            usable = usable[torch.from_numpy(self.split.labeled).to(usable.device)]
        return self.shuffled(usable, generator)

    def shuffled(self, usable: Int64[Tensor, " record"], generator: torch.Generator) -> list[Int64[Tensor, " batch"]]:
        """Shuffle records into the batches of an epoch, repeatedly where there are too few."""
        n, device = len(usable), usable.device
        rounds = -(-self.n_records // n)
        order = [usable[torch.randperm(n, generator=generator, device=device)] for _ in range(rounds)]
        return list(torch.cat(order)[: self.n_records].split(self.stage.batch_size))

    def crops(self, index: Int64[Tensor, " batch"], generators: Generators) -> Batch:
        """Return augmented crops of the records at `index`, unmasked."""
        stage, split = self.stage, self.split
        index = index.repeat_interleave(stage.n_views)
        positions = sample_positions(len(index), split.n_samples, split.fs, stage.augment, generators.order)
        crops = split.batch(index, positions)
        return augment(crops, split.fs, stage.augment, generators.pairs, generators.perturbations)

    def masked(self, batch: Batch, progress: float, generator: torch.Generator) -> Batch:
        """Return the batch with a mask, where the stage masks."""
        if not self.stage.masks:
            return batch
        masking = self.stage.masking.at(progress)
        mask = sample_mask((len(batch.signals), batch.signals.shape[2]), self.split.fs, masking, generator)
        return batch._replace(mask=mask, scored=masking.scores(mask))


def seeds_of(*key: int) -> list[int]:
    """Return five seeds that depend on the key alone: of torch, and of each generator."""
    return [int(seed) for seed in np.random.SeedSequence(key).generate_state(5)]


def own_share(batch: Batch) -> Batch:
    """Return this rank's share of a batch in a parallel training, else the batch."""
    return part(batch, own_rows(len(batch.signals)).to(batch.signals.device)) if is_parallel() else batch
