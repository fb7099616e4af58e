"""Report of how well a model reconstructs leads from other leads, and half of the time; also in ST segments alone."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from data_prep.lead_set import LeadSet
from data_prep.leads import BASIS_INDEX, STANDARD_LEADS
from ecgmtl.data.lead_algebra import extend_mask
from ecgmtl.data.masking import MaskingSettings, rarity
from ecgmtl.data.split import AT_A_TIME, Split
from ecgmtl.evaluation.reconstruction import reconstruct
from ecgmtl.metrics.reconstruction import MaskedSums, mean_pearson_r, reconstruction_figures
from ecgmtl.model.network import MultiTaskModel

HALVES = {
    "time": MaskingSettings(time=0.5, leads=0.0),
    "time_apart": MaskingSettings(time=0.5, leads=0.0, apart=True),
}
"""Maskings of half of the time, in blocks of 0.4 s: of all leads at once, where only other beats help to reconstruct,
and of each lead independently, where other leads help.
"""
INDEPENDENT, ALL = "independent leads", "all 12 leads"
"""Pools: the leads that the model reconstructed, of the 8 independent ones, and all leads that were not given, of which
some follow exactly from those that were.
"""


@dataclass(frozen=True)
class GivenLeadsReport:
    """Errors of reconstructions from some of the leads, and from half of the time."""

    leads: LeadSet
    rarity: float
    """Fraction of training records in which at least as many leads were masked."""
    figures: pd.DataFrame
    """A row for each combination of what was `masked` (leads, time, time_apart), which `samples` of it count (all, ST),
    and the `pool` of leads or records. The other columns are those of ReconstructionFigures, and the mean of r over
    records and leads.
    """

    def headline(self) -> dict[str, float]:
        """Return the main figures by names that MLflow accepts."""
        rows = {
            "from_leads": ("leads", "all"),
            "from_leads_st": ("leads", "ST"),
            "half_time": ("time", "all"),
            "half_time_apart": ("time_apart", "all"),
        }
        return {
            f"{name}_{figure}": self.figure(*row, INDEPENDENT, figure)
            for name, row in rows.items()
            for figure in ("pearson_r", "rmse_mv", "mae_mv")
        }

    def figure(self, masked: str, samples: str, pool: str, name: str) -> float:
        """Return one figure of the table."""
        table = self.figures
        chosen = (table["masked"] == masked) & (table["samples"] == samples) & (table["pool"] == pool)
        return float(table.loc[chosen, name].to_numpy()[0])


def report_given_leads(
    model: MultiTaskModel,
    split: Split,
    leads: LeadSet,
    maskings: tuple[MaskingSettings, ...],
    st: Bool[Tensor, "record time"],
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> GivenLeadsReport:
    """Mask the other leads of every record, then half of its time, and measure how well they are reconstructed.

    maskings: those that the decoder was trained with; st: the samples that lie in an ST segment.
    """
    rows = []
    for masked in ("leads", *HALVES):
        both = measure(model, split, HALVES.get(masked, leads), st, seed, advance)
        for samples, sums in zip(("all", "ST"), both, strict=True):
            for name, pool in pools(split, sums):
                # within the ST segments of one record there is hardly any variation to correlate
                mean_r = mean_pearson_r(pool) if samples == "all" else math.nan
                keys = {"masked": masked, "samples": samples, "pool": name}
                rows.append({**keys, **asdict(reconstruction_figures(pool)), "mean_r": mean_r})
    in_training = max(rarity(masking, sum(leads.mask)) for masking in maskings)
    return GivenLeadsReport(leads, in_training, pd.DataFrame(rows))


class Sums(NamedTuple):
    """Sums over the samples that were not given."""

    reconstructed: MaskedSums
    """Sums over the samples that the model reconstructed."""
    missing: MaskedSums
    """The same, and samples that follow exactly from the given leads, as in `ecgmtl reconstruct`."""


def measure(
    model: MultiTaskModel,
    split: Split,
    given: LeadSet | MaskingSettings,
    st: Bool[Tensor, "record time"],
    seed: int,
    advance: Callable[[int], None],
) -> tuple[Sums, Sums]:
    """Return the sums over all samples and over those in an ST segment.

    given: the leads to reconstruct from, or a masking.
    """
    parts = []
    masking, derived = (given.mask, given.derived) if isinstance(given, LeadSet) else (given, ())
    follows = torch.tensor([[lead in derived] for lead in STANDARD_LEADS], device=split.device)
    for index in torch.arange(len(split), device=split.device).split(AT_A_TIME):
        signals, reconstructed, mask = reconstruct(model, split, index, masking, seed)
        where = extend_mask(mask)
        for among in (torch.ones_like(where), st[index][:, None].expand_as(where)):
            parts += [MaskedSums.of(signals, reconstructed, counted & among) for counted in (where, where | follows)]
        advance(len(index))
    joined = [MaskedSums.join(parts[kind::4]) for kind in range(4)]
    return Sums(*joined[:2]), Sums(*joined[2:])


def pools(split: Split, sums: Sums) -> Iterator[tuple[str, MaskedSums]]:
    """Yield the independent leads, all 12, each lead with masked samples, and each superclass."""
    yield INDEPENDENT, sums.reconstructed.select(slice(None), BASIS_INDEX)
    yield ALL, sums.missing
    for row, lead in enumerate(STANDARD_LEADS):
        one = sums.reconstructed.select(slice(None), [row])
        if one.n.any():
            yield f"lead {lead}", one
    for column, name in enumerate(split.group_names):
        yield name, sums.reconstructed.select(split.groups[:, column] > 0, BASIS_INDEX)


def st_samples(split: Split, advance: Callable[[int], None] = lambda _: None) -> Bool[Tensor, "record time"]:
    """Return which samples of each record lie in the ST segment of a beat, as found on the recorded signal."""
    from ecgmtl.evaluation.st_segment import find_st

    masks = []
    for row in range(len(split)):
        signal = split.batch(torch.tensor([row], device=split.device)).signals[0].cpu().numpy()
        masks.append(find_st(signal, split.fs))
        advance(1)
    return torch.from_numpy(np.stack(masks)).to(split.device)
