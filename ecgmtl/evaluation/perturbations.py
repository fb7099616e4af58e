"""Perturbations of signals in mV, as ECGs meet them on their way to a model. To add one, extend PERTURBATIONS.

Random numbers are seeded by a record's name alone, so they are the same for every model and batch size.
"""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from data_prep import perturb
from data_prep.filters import band_pass, resample
from data_prep.leads import ELECTRODES, STANDARD_LEADS, electrode_algebra
from data_prep.perturb import WANDER_HERTZ
from data_prep.quality.lost_voltage import ALL, EACH_LEAD, TYPICAL_MV, to_typical

BAND = 0.5, 40.0
"""Pass band of monitors, in hertz."""
WANDER_MV = 0.3
"""Amplitude of baseline wander at each electrode, in mV."""
SHORT_SECONDS = 2.5
"""Duration of each lead in a printout of 3 × 4 leads."""


class CleanRecords(NamedTuple):
    """Records to perturb."""

    values: Float32[np.ndarray, "record 12 time"]
    """Signals in mV."""
    fs: float
    names: Sequence[str]


Change = Callable[[CleanRecords], Float32[np.ndarray, "record 12 part"]]


class Perturbation(NamedTuple):
    """A change of the signals, with its description in reports."""

    description: str
    change: Change
    family: str = ""
    """Name shared by perturbations of each lead in turn, which are reported by their mean and their worst."""
    missing: str = ""
    """Independent lead that is masked for the model."""


def sample_disturbance(
    signals: CleanRecords, sample: Callable[[np.random.Generator], np.ndarray]
) -> Float64[np.ndarray, "record 12 time"]:
    """Sample a disturbance of the electrodes and return it in the 12 leads, whose identities it obeys."""
    potentials = [sample(np.random.default_rng(zlib.crc32(name.encode()))) for name in signals.names]
    return np.einsum("le,ret->rlt", electrode_algebra(), np.stack(potentials))


def filter_like_monitor(signals: CleanRecords) -> Float32[np.ndarray, "record 12 time"]:
    """Apply the band-pass of monitors, without its upper edge where the sampling rate is too low for it."""
    low, high = BAND
    return band_pass(signals.values, signals.fs, low, high if high < signals.fs / 2 else None)


def resample_through(hertz: float, signals: CleanRecords) -> Float32[np.ndarray, "record 12 time"]:
    """Resample to this rate and back, as a record of this rate is resampled to the model's when it is read."""
    n_records, n_leads, n_samples = signals.values.shape
    at_rate = resample(signals.values.reshape(-1, n_samples), signals.fs, hertz)
    return resample(at_rate, hertz, signals.fs)[:, :n_samples].reshape(n_records, n_leads, n_samples)


def add_wander(signals: CleanRecords) -> Float32[np.ndarray, "record 12 time"]:
    """Add baseline wander: a sine of random frequency and phase at each electrode."""
    seconds = np.arange(signals.values.shape[-1]) / signals.fs

    def sample(generator: np.random.Generator) -> np.ndarray:
        return WANDER_MV * perturb.wander(generator.random((2, len(ELECTRODES), 1)), seconds)

    return (signals.values + sample_disturbance(signals, sample)).astype(np.float32)


def add_noise(decibels: float, signals: CleanRecords) -> Float32[np.ndarray, "record 12 time"]:
    """Add white noise of the electrodes, at this signal-to-noise ratio of each record.

    Powers are means over the 12 leads, of the signals about their means.
    """
    n_samples = signals.values.shape[-1]
    disturbance = sample_disturbance(signals, lambda generator: generator.standard_normal((9, n_samples)))
    power = signals.values.astype(np.float64).var(axis=-1).mean(axis=-1) / np.square(disturbance).mean(axis=(1, 2))
    level = np.sqrt(power / 10 ** (decibels / 10))
    return (signals.values + level[:, None, None] * disturbance).astype(np.float32)


def scale(factor: float, signals: CleanRecords) -> Float32[np.ndarray, "record 12 time"]:
    """Multiply all voltages by a factor."""
    return np.float32(factor) * signals.values


def lose_voltage(axes: tuple[int, ...], signals: CleanRecords) -> Float32[np.ndarray, "record 12 time"]:
    """Scale signals to the typical level over these axes, as files without a voltage scale are prepared."""
    return to_typical(signals.values, axes)


def flatten(lead: str, signals: CleanRecords) -> Float32[np.ndarray, "record 12 time"]:
    """Set a lead to 0 mV."""
    changed = signals.values.copy()
    changed[:, STANDARD_LEADS.index(lead)] = 0.0
    return changed


def swap_arms(signals: CleanRecords) -> Float32[np.ndarray, "record 12 time"]:
    """Swap the electrodes of the arms: I is inverted, II and III are exchanged, and so are aVR and aVL."""
    return perturb.swap_arms(signals.values)


def shorten(signals: CleanRecords) -> Float32[np.ndarray, "record 12 part"]:
    """Keep the first 2.5 s of each record."""
    return signals.values[..., : round(SHORT_SECONDS * signals.fs)]


FLAT, MISSING = "one_lead_flat", "one_chest_lead_missing"
FAMILIES = {
    FLAT: "one lead flat at 0 mV",
    MISSING: "one chest lead missing, masked for the model",
}
PERTURBATIONS = {
    "band_pass": Perturbation(
        f"band-pass {BAND[0]:g}–{BAND[1]:g} Hz (Butterworth, 2nd order, zero phase)", filter_like_monitor
    ),
    **{
        f"from_{hz}_hz": Perturbation(f"sampled at {hz} Hz and resampled", partial(resample_through, hz))
        for hz in (250, 1000)
    },
    "wander": Perturbation(
        f"baseline wander: a sine per electrode, {WANDER_HERTZ[0]:g}–{WANDER_HERTZ[1]:g} Hz, ±{WANDER_MV:g} mV",
        add_wander,
    ),
    **{f"noise_{db}_db": Perturbation(f"white noise, SNR {db} dB", partial(add_noise, db)) for db in (18, 12)},
    **{
        f"amplitude_{percent}_percent": Perturbation(f"amplitude {percent} %", partial(scale, percent / 100))
        for percent in (80, 90, 110, 120)
    },
    "voltage_lost": Perturbation(
        f"voltage scale lost: each record at {TYPICAL_MV:g} mV RMS", partial(lose_voltage, ALL)
    ),
    "lead_voltages_lost": Perturbation(
        f"voltage scale lost: each lead at {TYPICAL_MV:g} mV RMS", partial(lose_voltage, EACH_LEAD)
    ),
    "band_pass_voltage_lost": Perturbation(
        f"band-pass {BAND[0]:g}–{BAND[1]:g} Hz, then voltage scale lost: each record at {TYPICAL_MV:g} mV RMS",
        lambda signals: lose_voltage(ALL, signals._replace(values=filter_like_monitor(signals))),
    ),
    "arms_swapped": Perturbation("arm electrodes swapped", swap_arms),
    "short": Perturbation(f"first {SHORT_SECONDS:g} s only, padded with zeros", shorten),
    **{f"flat_{lead}": Perturbation(f"{lead} flat", partial(flatten, lead), FLAT) for lead in STANDARD_LEADS},
    **{
        f"missing_{lead}": Perturbation(f"{lead} missing", partial(flatten, lead), MISSING, missing=lead)
        for lead in STANDARD_LEADS[6:]
    },
}
