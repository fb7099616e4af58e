"""How well a model draws 12 leads from some of them, and half of the time from the other half; and the ST segment."""

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
from data_prep.leads import STANDARD_LEADS
from ecgmtl.data.lead_algebra import BASIS_INDEX, extend_mask
from ecgmtl.data.masking import MaskingSettings, rarity
from ecgmtl.data.split import Split
from ecgmtl.evaluation.reconstruction import reconstruct
from ecgmtl.metrics.reconstruction import MaskedSums, mean_pearson_r, reconstruction_figures
from ecgmtl.model.network import MultiTaskModel

HALVES = {
    "time": MaskingSettings(time=0.5, leads=0.0),
    "time_apart": MaskingSettings(time=0.5, leads=0.0, apart=True),
}
"""Half of the time hidden, in blocks of 0.4 s at places that follow from the record's name: in all leads at once, where
only other beats tell what was there, and of each lead by itself, where other leads do.
"""
INDEPENDENT, ALL = "independent leads", "all 12 leads"
"""What the model drew of the 8, and all that was not given: leads that follow from the given ones are exact."""


@dataclass(frozen=True)
class GivenLeadsReport:
    leads: LeadSet
    rarity: float
    """Share of the training records in which as many leads were hidden."""
    figures: pd.DataFrame
    """A row for what was `hidden` (leads, time, time_apart), which `samples` of it count (all, ST), and the `pool` of
    leads or records; then the columns of ReconstructionFigures, and the mean of r over records and leads.
    """

    def headline(self) -> dict[str, float]:
        """Figures by names that MLflow takes."""
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

    def figure(self, mask: str, samples: str, pool: str, name: str) -> float:
        table = self.figures
        chosen = (table["hidden"] == mask) & (table["samples"] == samples) & (table["pool"] == pool)
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
    """Hide the other leads, then half of the time, of every record, and compare what the model draws there.

    `maskings` are those that the decoder learnt with, `st` the samples that lie in an ST segment.
    """
    rows = []
    for what in ("leads", *HALVES):
        found = measure(model, split, HALVES.get(what, leads), st, seed, advance)
        for samples, sums in zip(("all", "ST"), found, strict=True):
            for name, pool in pools(split, sums):
                # within one record's ST segments hardly anything varies that could correlate
                mean_r = mean_pearson_r(pool) if samples == "all" else math.nan
                place = {"hidden": what, "samples": samples, "pool": name}
                rows.append({**place, **asdict(reconstruction_figures(pool)), "mean_r": mean_r})
    seen = max(rarity(masking, sum(leads.mask)) for masking in maskings)
    return GivenLeadsReport(leads, seen, pd.DataFrame(rows))


class Sums(NamedTuple):
    drawn: MaskedSums
    """Of what the model drew."""
    missing: MaskedSums
    """Of all that was not given, which takes in what follows from the given leads, as `ecgmtl reconstruct` does."""


def measure(
    model: MultiTaskModel,
    split: Split,
    given: LeadSet | MaskingSettings,
    st: Bool[Tensor, "record time"],
    seed: int,
    advance: Callable[[int], None],
    batch_size: int = 256,
) -> tuple[Sums, Sums]:
    """Over all samples, and over those in an ST segment; given are leads, or what a masking leaves."""
    parts = []
    hide, derived = (given.mask, given.derived) if isinstance(given, LeadSet) else (given, ())
    follows = torch.tensor([[lead in derived] for lead in STANDARD_LEADS], device=split.device)
    for index in torch.arange(len(split), device=split.device).split(batch_size):
        signals, drawn, mask = reconstruct(model, split, index, hide, seed)
        where = extend_mask(mask)
        for among in (torch.ones_like(where), st[index][:, None].expand_as(where)):
            parts += [MaskedSums.of(signals, drawn, counted & among) for counted in (where, where | follows)]
        advance(len(index))
    joined = [MaskedSums.join(parts[kind::4]) for kind in range(4)]
    return Sums(*joined[:2]), Sums(*joined[2:])


def pools(split: Split, sums: Sums) -> Iterator[tuple[str, MaskedSums]]:
    """The independent leads, all 12, each lead that had anything hidden, each superclass."""
    yield INDEPENDENT, sums.drawn.select(slice(None), BASIS_INDEX)
    yield ALL, sums.missing
    for row, lead in enumerate(STANDARD_LEADS):
        one = sums.drawn.select(slice(None), [row])
        if one.n.any():
            yield f"lead {lead}", one
    for column, name in enumerate(split.group_names):
        yield name, sums.drawn.select(split.groups[:, column] > 0, BASIS_INDEX)


def st_samples(split: Split, advance: Callable[[int], None] = lambda _: None) -> Bool[Tensor, "record time"]:
    """Which samples of each record lie in the ST segment of a beat, found on the recorded signal."""
    from ecgmtl.evaluation.st_segment import find_st

    found = []
    for place in range(len(split)):
        signal = split.batch(torch.tensor([place], device=split.device)).signals[0].cpu().numpy()
        found.append(find_st(signal, split.fs))
        advance(1)
    return torch.from_numpy(np.stack(found)).to(split.device)
