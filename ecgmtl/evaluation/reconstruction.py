"""All that is said of the reconstruction on a split: hidden samples alone, overall, by lead and by superclass."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from data_prep.preprocess import STANDARD_LEADS
from ecgmtl.data.lead_algebra import BASIS_INDEX, extend_mask
from ecgmtl.data.masking import MaskingSettings, sample_mask
from ecgmtl.data.split import Split
from ecgmtl.metrics.reconstruction import MaskedSums, ReconstructionFigures, reconstruction_figures
from ecgmtl.model.network import MultiTaskModel


@dataclass(frozen=True)
class ReconstructedRecord:
    """One record beside what the decoder drew of it, in mV, and where it could not see."""

    name: str
    fs: float
    signal: Float[np.ndarray, "lead time"]
    reconstruction: Float[np.ndarray, "lead time"]
    mask: Bool[np.ndarray, "lead time"]


@dataclass(frozen=True)
class ReconstructionReport:
    masking: MaskingSettings
    overall: ReconstructionFigures
    """Over the 8 independent leads: the other four follow from I and II and would count these twice."""
    by_lead: pd.DataFrame
    by_group: pd.DataFrame
    """By diagnostic superclass, or by label where there are none; over the 8 independent leads."""
    typical: ReconstructedRecord
    """The record with the median error."""


def report_reconstruction(
    model: MultiTaskModel,
    split: Split,
    masking: MaskingSettings,
    seed: int = 0,
    batch_size: int = 256,
    advance: Callable[[int], None] = lambda _: None,
) -> ReconstructionReport:
    """Hide parts of every record, let the model draw them, and compare."""
    masking = masking.model_copy(update={"share": 1.0})
    parts = []
    for index in torch.arange(len(split), device=split.device).split(batch_size):
        signals, drawn, mask = reconstruct(model, split, index, masking, seed)
        parts.append(MaskedSums.of(signals, drawn, extend_mask(mask)))
        advance(len(index))
    sums = MaskedSums.join(parts)
    return ReconstructionReport(
        masking,
        reconstruction_figures(sums.select(slice(None), BASIS_INDEX)),
        table("lead", ((lead, sums.select(slice(None), [row])) for row, lead in enumerate(STANDARD_LEADS))),
        table("group", groups(split, sums)),
        draw_one(model, split, median_record(sums), masking, seed),
    )


@torch.inference_mode()
def reconstruct(
    model: MultiTaskModel,
    split: Split,
    index: Tensor,
    hide: MaskingSettings | tuple[bool, ...],
    seed: int,
) -> tuple[Float[Tensor, "batch lead time"], Float[Tensor, "batch lead time"], Bool[Tensor, "batch basis time"]]:
    """Signals, their reconstruction in mV, and what was hidden.

    What a masking hides of a record follows from its name and the seed alone, so that models, batch sizes and devices
    agree; or whole leads are hidden, the same of all records, said of each of the 8 independent ones.
    """
    if isinstance(hide, MaskingSettings):
        mask = sample_mask_by_name(split, index, hide, seed)
    else:
        mask = torch.tensor(hide, device=split.device)[None, :, None].expand(len(index), -1, split.n_samples)
    signals = split.batch(index).signals
    return signals, model.reconstruct(signals, mask), mask


def sample_mask_by_name(
    split: Split, index: Tensor, masking: MaskingSettings, seed: int
) -> Bool[Tensor, "batch basis time"]:
    generator = torch.Generator()
    masks = []
    for place in index.tolist():
        generator.manual_seed(zlib.crc32(split.names[place].encode(), seed))
        masks.append(sample_mask((1, split.n_samples), split.fs, masking, generator))
    return torch.cat(masks).to(split.device)


def groups(split: Split, sums: MaskedSums) -> Iterator[tuple[str, MaskedSums]]:
    for column, name in enumerate(split.group_names):
        yield name, sums.select(split.groups[:, column] > 0, BASIS_INDEX)


def table(what: str, pools: Iterator[tuple[str, MaskedSums]]) -> pd.DataFrame:
    rows = {name: asdict(reconstruction_figures(pool)) for name, pool in pools}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(what)


def median_record(sums: MaskedSums) -> int:
    """The record whose mean squared error is the median; records with nothing hidden have none."""
    basis = sums.select(slice(None), BASIS_INDEX)
    error = basis.squared.sum(dim=1) / basis.n.sum(dim=1)
    n_defined = int((~error.isnan()).sum())
    return int(error.argsort()[max(n_defined - 1, 0) // 2])  # nan comes last


def draw_one(
    model: MultiTaskModel, split: Split, place: int, masking: MaskingSettings, seed: int
) -> ReconstructedRecord:
    signals, drawn, mask = reconstruct(model, split, torch.tensor([place], device=split.device), masking, seed)
    arrays = (tensor[0].cpu().numpy() for tensor in (signals, drawn, extend_mask(mask)))
    return ReconstructedRecord(split.names[place], split.fs, *arrays)
