"""Masking: which samples the encoder must reconstruct without reading them.

Here masks are sampled. `mark` in `ecgmtl/model/network.py` applies them: a masked sample is 0, and further rows of the
input hold the mask.
"""

from math import comb

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from ecgmtl.data.lead_algebra import N_BASIS
from ecgmtl.settings import Settings

MASK_SEED = 9
"""Seed of the masks of validation, evaluation and prediction, so that epochs and models are compared on the same ones.
Training samples its own from the run's seed."""


class MaskingSettings(Settings):
    """Settings of masking over the 8 independent leads: blocks of time, and whole leads."""

    share: float = Field(1.0, ge=0, le=1)
    """Fraction of records in a batch that are masked. The rest are passed through unmasked."""
    time: float = Field(0.3, ge=0, lt=1)
    """Fraction of the time that is masked."""
    block_seconds: float = Field(0.4, ge=0.01, le=60)
    """Length of one masked block, in seconds."""
    apart: bool = False
    """Whether each lead is masked independently, like a loose electrode. Otherwise a block covers all leads."""
    leads: float = Field(0.2, ge=0, lt=1)
    """Fraction of the independent leads that are masked throughout; at least one lead stays visible."""
    visible: float = Field(0.0, ge=0, le=1)
    """Weight of a visible sample in the reconstruction loss; a masked one has weight 1."""
    grows_from: float = Field(1.0, ge=0, le=1)
    """Curriculum: fraction of `time` and `leads` that is masked at the stage's first step."""
    grows_until: float = Field(0.5, gt=0, le=1)
    """Curriculum: fraction of the stage's steps after which all of `time` and `leads` is masked, growing linearly."""

    @property
    def masks(self) -> bool:
        """Whether any sample is masked."""
        return self.share > 0 and (self.time > 0 or self.leads > 0)

    def at(self, progress: float) -> "MaskingSettings":
        """Return the settings that hold when this fraction of the stage's steps is done."""
        part = min(1.0, self.grows_from + (1 - self.grows_from) * progress / self.grows_until)
        return self.model_copy(update={"time": part * self.time, "leads": part * self.leads})

    def blocks(self) -> str:
        """Describe in words which part of the time is masked."""
        leads = " of each lead independently" if self.apart else ""
        return f"{self.time:.0%} of the time{leads}, in blocks of {self.block_seconds:g} s"

    def scores(self, mask: Bool[Tensor, "batch basis time"]) -> Float[Tensor, "batch basis time"]:
        """Return the weight of each sample in the reconstruction loss."""
        return mask.float().clamp(min=self.visible)


def rarity(settings: MaskingSettings, n_leads: int) -> float:
    r"""Return the fraction of records in which at least `n_leads` of the 8 independent leads are masked throughout.

    :math:`s \sum_{k \ge n} \binom{8}{k} p^k (1-p)^{8-k}` with share s and probability p; one lead stays visible.
    """
    if n_leads >= N_BASIS:
        return 0.0
    p = settings.leads
    return settings.share * sum(comb(N_BASIS, k) * p**k * (1 - p) ** (N_BASIS - k) for k in range(n_leads, N_BASIS + 1))


def sample_mask(
    size: tuple[int, int], fs: float, settings: MaskingSettings, generator: torch.Generator
) -> Bool[Tensor, "batch basis time"]:
    """Sample a mask for each record of a batch, on the generator's device.

    size: records in the batch, samples of each; fs in hertz.
    """
    batch, n_samples = size

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device)

    block = max(1, round(settings.block_seconds * fs))
    rows = N_BASIS if settings.apart else 1
    blocks = uniform(batch, rows, n_samples // block + 2) < settings.time
    phase = (uniform(batch, rows, 1) * block).long()  # blocks start anywhere, not on a grid
    block_index = (torch.arange(n_samples, device=generator.device) + phase) // block
    times = blocks.gather(2, block_index)

    order = uniform(batch, N_BASIS)
    leads = (order < settings.leads) & (order < order.amax(dim=1, keepdim=True))
    chosen = uniform(batch, 1, 1) < settings.share
    return (times | leads[:, :, None]) & chosen
