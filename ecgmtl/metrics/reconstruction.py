"""Metrics of reconstructions, from sums over masked samples that are accumulated batch by batch.

All metrics are pooled over the masked samples of the selected records and leads. Visible samples never count.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

FLAT = 1e-8
"""Variance in mV², the square of 0.1 µV, below which a lead has no correlation."""


@dataclass(frozen=True)
class MaskedSums:
    """Sums over the masked samples of each record and lead, of the truth x and the reconstruction y in mV."""

    n: Float[Tensor, "record lead"]
    x: Float[Tensor, "record lead"]
    y: Float[Tensor, "record lead"]
    xx: Float[Tensor, "record lead"]
    yy: Float[Tensor, "record lead"]
    xy: Float[Tensor, "record lead"]
    absolute: Float[Tensor, "record lead"]
    """Sum of the absolute differences."""
    squared: Float[Tensor, "record lead"]
    """Sum of the squared differences."""

    @classmethod
    def of(
        cls,
        truth: Float[Tensor, "record lead time"],
        reconstruction: Float[Tensor, "record lead time"],
        mask: Bool[Tensor, "record lead time"],
    ) -> "MaskedSums":
        """Sum over the samples where `mask` is true."""
        counted = mask.double()
        x, y = truth.double() * counted, reconstruction.double() * counted
        terms = (counted, x, y, x * x, y * y, x * y, (y - x).abs(), (y - x).square())
        return cls(*(term.sum(dim=-1) for term in terms))

    @classmethod
    def join(cls, parts: list["MaskedSums"]) -> "MaskedSums":
        """Concatenate the sums of several batches, on the CPU."""
        joined = (torch.cat([getattr(part, f.name) for part in parts]).cpu() for f in fields(cls))
        return cls(*joined)

    def select(self, records: Bool[np.ndarray, " record"] | slice, leads: list[int] | slice) -> "MaskedSums":
        """Return the sums of some records and leads."""
        rows = torch.from_numpy(records) if isinstance(records, np.ndarray) else records
        return MaskedSums(*(getattr(self, f.name)[rows][:, leads] for f in fields(self)))


@dataclass(frozen=True)
class ReconstructionFigures:
    """Metrics of the truth x and the reconstruction y over a pool of masked samples; nan where there is none."""

    n_samples: int
    rmse_mv: float
    """Root of the mean of (y - x)², mV."""
    mae_mv: float
    """Mean of |y - x|, mV."""
    pearson_r: float
    """Correlation of x and y."""
    prd_percent: float
    """100 times the root of sum (y - x)² over sum (x - mean x)²: 100 for a reconstruction by the mean."""
    snr_db: float
    """10 log10 of sum (x - mean x)² over sum (y - x)², decibels."""


def mean_pearson_r(sums: MaskedSums) -> float:
    """Compute the mean correlation over records and leads. Unmasked and flat ones are left out."""
    n = sums.n.clamp(min=1)
    spread_x, spread_y = sums.xx - sums.x.square() / n, sums.yy - sums.y.square() / n
    r = (sums.xy - sums.x * sums.y / n) / (spread_x * spread_y).sqrt()
    varies = (spread_x > FLAT * n) & (spread_y > FLAT * n)
    return float(r[varies].mean())


def reconstruction_figures(sums: MaskedSums) -> ReconstructionFigures:
    """Pool the sums over all their records and leads."""
    pooled = {f.name: float(getattr(sums, f.name).sum()) for f in fields(sums)}
    n, x, y, squared = pooled["n"], pooled["x"], pooled["y"], pooled["squared"]
    if not n:
        return ReconstructionFigures(0, *[float("nan")] * 5)
    spread_x, spread_y = pooled["xx"] - x * x / n, pooled["yy"] - y * y / n
    common = pooled["xy"] - x * y / n
    with np.errstate(divide="ignore", invalid="ignore"):
        signal_to_error = np.float64(max(spread_x, 0.0)) / squared
        return ReconstructionFigures(
            n_samples=int(n),
            rmse_mv=float(np.sqrt(squared / n)),
            mae_mv=pooled["absolute"] / n,
            pearson_r=float(common / np.sqrt(np.float64(spread_x * spread_y))),
            prd_percent=float(100 / np.sqrt(signal_to_error)),
            snr_db=float(10 * np.log10(signal_to_error)),
        )
