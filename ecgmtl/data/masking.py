"""Which samples are hidden from the encoder; the reconstruction is scored on them."""

from math import comb

import torch
from jaxtyping import Bool, Float
from pydantic import Field, PositiveFloat
from torch import Tensor

from ecgmtl.data.lead_algebra import N_BASIS
from ecgmtl.settings import Settings


class MaskingSettings(Settings):
    """Blocks of time are hidden, and whole leads throughout, over the 8 independent leads."""

    share: float = Field(1.0, ge=0, le=1)
    """Of a batch's records, how many have anything hidden; the others are seen whole."""
    time: float = Field(0.3, ge=0, lt=1)
    """Share of the time that is hidden."""
    block_seconds: PositiveFloat = 0.4
    """Length of one hidden block, in seconds."""
    apart: bool = False
    """Each lead has blocks of its own, as where one electrode loses touch; otherwise they hide all leads at once."""
    leads: float = Field(0.2, ge=0, lt=1)
    """Share of the independent leads that are hidden; at least one stays visible."""
    visible: float = Field(0.0, ge=0, le=1)
    """What a visible sample counts in the loss; a hidden one counts 1."""
    grows_from: float = Field(1.0, ge=0, le=1)
    """A curriculum: the stage begins with this part of `time` and `leads` hidden ..."""
    grows_until: float = Field(0.5, gt=0, le=1)
    """... and reaches the whole, in a straight line, when this share of its steps is done."""

    @property
    def masks(self) -> bool:
        """Whether any sample is masked."""
        return self.share > 0 and (self.time > 0 or self.leads > 0)

    def at(self, progress: float) -> "MaskingSettings":
        """What is hidden when this share of the stage's steps, 0 to 1, is done."""
        part = min(1.0, self.grows_from + (1 - self.grows_from) * progress / self.grows_until)
        return self.model_copy(update={"time": part * self.time, "leads": part * self.leads})

    def blocks(self) -> str:
        """What is hidden of the time, in words."""
        whose = " of each lead by itself" if self.apart else ""
        return f"{self.time:.0%} of the time{whose}, in blocks of {self.block_seconds:g} s"

    def scores(self, mask: Bool[Tensor, "batch basis time"]) -> Float[Tensor, "batch basis time"]:
        """How much each sample counts in the reconstruction loss."""
        return mask.float().clamp(min=self.visible)


def rarity(settings: MaskingSettings, n_leads: int) -> float:
    r"""Share of the records in which at least `n_leads` of the 8 independent leads are hidden throughout.

    :math:`s \sum_{k \ge n} \binom{8}{k} p^k (1-p)^{8-k}` with share s and probability p; one lead is always seen.
    """
    p = settings.leads
    found = sum(comb(N_BASIS, k) * p**k * (1 - p) ** (N_BASIS - k) for k in range(n_leads, N_BASIS + 1))
    return settings.share * found if n_leads < N_BASIS else 0.0


def sample_mask(
    size: tuple[int, int], fs: float, settings: MaskingSettings, generator: torch.Generator
) -> Bool[Tensor, "batch basis time"]:
    """Draw for each record of a batch what is hidden, on the generator's device.

    size: records in the batch, samples of each; fs in hertz.
    """
    batch, n_samples = size

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device)

    block = max(1, round(settings.block_seconds * fs))
    rows = N_BASIS if settings.apart else 1
    blocks = uniform(batch, rows, n_samples // block + 2) < settings.time
    phase = (uniform(batch, rows, 1) * block).long()  # blocks start anywhere, not on a grid
    place = (torch.arange(n_samples, device=generator.device) + phase) // block
    times = blocks.gather(2, place)

    order = uniform(batch, N_BASIS)
    leads = (order < settings.leads) & (order < order.amax(dim=1, keepdim=True))
    chosen = uniform(batch, 1, 1) < settings.share
    return (times | leads[:, :, None]) & chosen
