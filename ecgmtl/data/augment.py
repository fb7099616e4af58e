"""Data augmentation that preserves the labels, sampled on the device for a whole batch at once."""

from functools import cache

import torch
from jaxtyping import Float, Int64
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from data_prep.perturb import ARMS_SWAPPED, scale_to_rms, swap_arms, wander
from data_prep.quality.lost_voltage import ALL, EACH_LEAD, TYPICAL_MV
from ecgmtl.data.batch import Batch
from ecgmtl.data.lead_algebra import N_BASIS, index_tensor
from ecgmtl.settings import Settings

N_QUANTILES = 1024
LOST_SPREAD = 0.3
"""Standard deviation of the log level to which programs scale signals without voltage: they do not agree on one."""


class AugmentSettings(Settings):
    """Settings of data augmentation."""

    crop_seconds: float | None = Field(None, ge=0.5, le=86_400)
    """Length of a random crop of each record, in seconds; the whole record when absent or longer than it."""
    shift: bool = False
    """Whether a crop may run over the end of the record and continue at its beginning."""
    amplitude: float = Field(0.0, ge=0, lt=1)
    """Standard deviation of the logarithm of a random factor on each record's voltage."""
    voltage_loss: float = Field(0.0, ge=0, lt=1)
    """Probability that a record reaches the encoder without its voltage scale, as normalized files have it."""
    lead_voltage_loss: float = Field(0.0, ge=0, lt=1)
    """Probability that a record reaches the encoder with each lead normalized by itself."""
    noise: NonNegativeFloat = 0.0
    """Standard deviation of white noise added to the encoder's input, in mV."""
    wander: NonNegativeFloat = 0.0
    """Standard deviation of baseline wander, 0.05 to 0.5 Hz, added to the encoder's input, in mV."""
    arm_swap: float = Field(0.0, ge=0, lt=1)
    """Probability that a record reaches the encoder as if the arm electrodes had been swapped."""
    lead_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability that a lead is set to 0 mV in the encoder's input."""
    leads_missing: float = Field(0.0, ge=0, lt=1)
    """Probability that an independent lead is masked throughout, as masking does, where nothing else masks: in stages
    without masking, and in the clean view."""
    mixup: NonNegativeFloat = 0.0
    """Parameter of mixup: pairs are blended by a fraction from Beta(mixup, mixup) (Zhang et al., ICLR 2018)."""


def sample_positions(
    n_records: int, n_samples: int, fs: float, settings: AugmentSettings, generator: torch.Generator
) -> Int64[Tensor, "batch time"]:
    """Sample which positions of each record make up the batch."""
    length = min(n_samples, max(1, round((settings.crop_seconds or n_samples / fs) * fs)))
    starts = n_samples if settings.shift else n_samples - length + 1
    start = torch.randint(starts, (n_records, 1), generator=generator, device=generator.device)
    return (start + torch.arange(length, device=generator.device)) % n_samples


def augment(
    batch: Batch, fs: float, settings: AugmentSettings, pairing: torch.Generator, generator: torch.Generator
) -> Batch:
    """Augment a batch. `signals` stay the clean target of the reconstruction, and `input` is what the encoder reads.

    Pairs for mixup are sampled from `pairing`, so that they are the same whatever else is done.
    """
    size, device = batch.signals.shape[0], batch.signals.device
    if settings.amplitude:
        batch = batch._replace(signals=batch.signals * sample_factors((size, 1, 1), settings.amplitude, generator))
    if settings.mixup:
        batch = blend(batch, settings.mixup, pairing)
    inputs = batch.signals
    if settings.arm_swap:
        swapped = torch.rand(size, 1, 1, generator=generator, device=device) < settings.arm_swap
        inputs = torch.where(swapped, swap_arms(inputs, index_tensor(ARMS_SWAPPED, device)), inputs)
    for probability, axes in ((settings.voltage_loss, ALL), (settings.lead_voltage_loss, EACH_LEAD)):
        if probability:
            lost = torch.rand(size, 1, 1, generator=generator, device=device) < probability
            inputs = torch.where(lost, lose_voltage(inputs, axes, generator), inputs)
    if settings.noise:
        inputs = inputs + settings.noise * torch.randn(inputs.shape, generator=generator, device=device)
    if settings.wander:
        inputs = inputs + settings.wander * sample_wander(tuple(inputs.shape), fs, generator)
    if settings.lead_dropout:
        kept = torch.rand(*inputs.shape[:2], 1, generator=generator, device=device) >= settings.lead_dropout
        inputs = inputs * kept
    if settings.leads_missing:
        missing = torch.rand(size, N_BASIS, 1, generator=generator, device=device) < settings.leads_missing
        batch = batch._replace(mask=missing.expand(-1, -1, inputs.shape[2]))
    return batch._replace(input=inputs)


def lose_voltage(
    signals: Float[Tensor, "batch lead time"], axes: tuple[int, ...], generator: torch.Generator
) -> Float[Tensor, "batch lead time"]:
    """Scale signals to about the same root mean square over these axes. A flat signal stays flat."""
    factors = sample_factors((signals.shape[0], 1, 1), LOST_SPREAD, generator)
    return scale_to_rms(signals, factors * TYPICAL_MV, axes)


def sample_factors(size: tuple[int, int, int], spread: float, generator: torch.Generator) -> Float[Tensor, "batch _ 1"]:
    """Sample factors from a log-normal distribution: a half and twice are equally likely."""
    return torch.exp(spread * torch.randn(size, generator=generator, device=generator.device))


def sample_wander(size: tuple[int, ...], fs: float, generator: torch.Generator) -> Float[Tensor, "batch lead time"]:
    """Sample a sine of random frequency, random phase and variance 1 for each lead, like breathing and skin cause."""
    uniform = torch.rand(2, *size[:2], 1, generator=generator, device=generator.device)
    return 2**0.5 * wander(uniform, torch.arange(size[2], device=generator.device) / fs)


def blend(batch: Batch, alpha: float, generator: torch.Generator) -> Batch:
    """Blend each record, with its labels and targets, with another record of the batch (mixup)."""
    size, device = batch.signals.shape[0], batch.signals.device
    quantile = torch.randint(N_QUANTILES, (size, 1), generator=generator, device=device)
    share = beta_quantiles(alpha, device)[quantile]
    # within a half of the batch: diagnostics compare the gradients of the halves, which must share no record
    half = size // 2
    halves = (torch.randperm(n, generator=generator, device=device) for n in (half, size - half))
    partner = torch.cat([index + start for index, start in zip(halves, (0, half), strict=True)])

    def mix(values: Tensor) -> Tensor:
        part = share.view(size, *[1] * (values.dim() - 1))
        return part * values + (1 - part) * values[partner]

    auxiliary = {name: mix(labels) for name, labels in batch.auxiliary_labels.items()}
    targets = {name: mix(values) for name, values in batch.targets.items()}
    labels = mix(batch.labels)
    return batch._replace(signals=mix(batch.signals), labels=labels, auxiliary_labels=auxiliary, targets=targets)


@cache
def beta_quantiles(alpha: float, device: torch.device) -> Float[Tensor, " quantile"]:
    """Return equally likely values of Beta(alpha, alpha): torch samples no Beta from a given generator."""
    from scipy.special import betaincinv  # scipy.stats, which has it as beta.ppf, takes a second to import

    levels = (torch.arange(N_QUANTILES, dtype=torch.float64) + 0.5) / N_QUANTILES
    return torch.from_numpy(betaincinv(alpha, alpha, levels.numpy())).float().to(device)
