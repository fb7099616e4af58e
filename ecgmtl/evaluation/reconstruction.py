"""Report of the reconstruction on a split: errors of masked samples overall, by lead and by superclass."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from data_prep.leads import BASIS_INDEX, STANDARD_LEADS
from ecgmtl.data.lead_algebra import extend_mask
from ecgmtl.data.masking import MaskingSettings, sample_mask
from ecgmtl.data.split import AT_A_TIME, Split
from ecgmtl.metrics.reconstruction import MaskedSums, ReconstructionFigures, reconstruction_figures
from ecgmtl.model.network import MultiTaskModel


@dataclass(frozen=True)
class ReconstructedRecord:
    """A record beside its reconstruction, in mV, with the mask."""

    name: str
    fs: float
    signal: Float[np.ndarray, "lead time"]
    reconstruction: Float[np.ndarray, "lead time"]
    mask: Bool[np.ndarray, "lead time"]


@dataclass(frozen=True)
class ReconstructionReport:
    """Errors of a model's reconstruction on a split."""

    masking: MaskingSettings
    overall: ReconstructionFigures
    """Figures over the 8 independent leads. The other four follow from I and II and would count these twice."""
    by_lead: pd.DataFrame
    by_group: pd.DataFrame
    """Figures over the 8 independent leads, by diagnostic superclass, or by label where there are no superclasses."""
    typical: ReconstructedRecord
    """The record with the median error."""


def report_reconstruction(
    model: MultiTaskModel,
    split: Split,
    masking: MaskingSettings,
    seed: int = 0,
    batch_size: int = AT_A_TIME,
    advance: Callable[[int], None] = lambda _: None,
) -> ReconstructionReport:
    """Mask parts of every record, reconstruct them, and compare."""
    masking = masking.model_copy(update={"share": 1.0})
    parts = []
    for index in torch.arange(len(split), device=split.device).split(batch_size):
        signals, reconstructed, mask = reconstruct(model, split, index, masking, seed)
        parts.append(MaskedSums.of(signals, reconstructed, extend_mask(mask)))
        advance(len(index))
    sums = MaskedSums.join(parts)
    return ReconstructionReport(
        masking,
        reconstruction_figures(sums.select(slice(None), BASIS_INDEX)),
        table("lead", ((lead, sums.select(slice(None), [row])) for row, lead in enumerate(STANDARD_LEADS))),
        table("group", groups(split, sums)),
        reconstruct_one(model, split, median_record(sums), masking, seed),
    )


@torch.inference_mode()
def reconstruct(
    model: MultiTaskModel,
    split: Split,
    index: Tensor,
    masking: MaskingSettings | tuple[bool, ...],
    seed: int,
) -> tuple[Float[Tensor, "batch lead time"], Float[Tensor, "batch lead time"], Bool[Tensor, "batch basis time"]]:
    """Return signals and their reconstruction in mV, and the mask.

    A mask sampled by `masking` depends only on the record's name and the seed, so it is the same for every model, batch
    size and device. To mask whole leads of all records instead, pass a boolean for each of the 8 independent leads.
    """
    if isinstance(masking, MaskingSettings):
        mask = sample_mask_by_name(split, index, masking, seed)
    else:
        mask = torch.tensor(masking, device=split.device)[None, :, None].expand(len(index), -1, split.n_samples)
    signals = split.batch(index).signals
    return signals, model.reconstruct(signals, mask), mask


def sample_mask_by_name(
    split: Split, index: Tensor, masking: MaskingSettings, seed: int
) -> Bool[Tensor, "batch basis time"]:
    """Sample the mask of each record with a generator that is seeded by its name."""
    generator = torch.Generator()
    masks = []
    for row in index.tolist():
        generator.manual_seed(zlib.crc32(split.names[row].encode(), seed))
        masks.append(sample_mask((1, split.n_samples), split.fs, masking, generator))
    return torch.cat(masks).to(split.device)


def groups(split: Split, sums: MaskedSums) -> Iterator[tuple[str, MaskedSums]]:
    """Yield the sums of each group's records over the independent leads."""
    for column, name in enumerate(split.group_names):
        yield name, sums.select(split.groups[:, column] > 0, BASIS_INDEX)


def table(index_name: str, pools: Iterator[tuple[str, MaskedSums]]) -> pd.DataFrame:
    """Return the figures of each pool as a row."""
    rows = {name: asdict(reconstruction_figures(pool)) for name, pool in pools}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index_name)


def median_record(sums: MaskedSums) -> int:
    """Return the index of the record with the median mean squared error. Records without masked samples have none."""
    basis = sums.select(slice(None), BASIS_INDEX)
    error = basis.squared.sum(dim=1) / basis.n.sum(dim=1)
    n_defined = int((~error.isnan()).sum())
    return int(error.argsort()[max(n_defined - 1, 0) // 2])  # nan comes last


def reconstruct_one(
    model: MultiTaskModel, split: Split, row: int, masking: MaskingSettings, seed: int
) -> ReconstructedRecord:
    """Return one record with its reconstruction and mask, as arrays."""
    signals, reconstructed, mask = reconstruct(model, split, torch.tensor([row], device=split.device), masking, seed)
    arrays = (tensor[0].cpu().numpy() for tensor in (signals, reconstructed, extend_mask(mask)))
    return ReconstructedRecord(split.names[row], split.fs, *arrays)
