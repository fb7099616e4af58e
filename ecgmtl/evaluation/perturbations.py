"""What happens to ECGs on their way to a model, done to signals in mV. A new one is an entry of PERTURBATIONS.

All that is random of a record follows from its name alone, so that models and batch sizes meet the same.
"""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from data_prep import perturb
from data_prep.leads import STANDARD_LEADS
from data_prep.lost_voltage import ALL, EACH_LEAD, TYPICAL_MV, to_typical
from data_prep.perturb import WANDER_HERTZ
from data_prep.preprocess import band_pass, resample

BAND = 0.5, 40.0
"""Hertz; what monitors pass on."""
WANDER_MV = 0.3
"""Amplitude at each electrode."""
SHORT_SECONDS = 2.5
"""What a printout of 3 × 4 leads shows of each."""
ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")


class Signals(NamedTuple):
    """Records to be perturbed."""

    values: Float32[np.ndarray, "record 12 time"]
    """mV."""
    fs: float
    names: Sequence[str]


Change = Callable[[Signals], Float32[np.ndarray, "record 12 part"]]


class Perturbation(NamedTuple):
    description: str
    change: Change
    family: str = ""
    """Of those done to each lead in turn; they are reported by their mean and their worst."""
    missing: str = ""
    """The independent lead that the model is told to be missing."""


def electrode_algebra() -> Float64[np.ndarray, "12 electrode"]:
    """What each lead is of the nine electrodes' potentials; the chest leads are against the mean of the limbs'."""
    ra, la, ll = np.eye(len(ELECTRODES))[:3]
    limbs = [la - ra, ll - ra, ll - la, ra - (la + ll) / 2, la - (ra + ll) / 2, ll - (ra + la) / 2]
    return np.stack([*limbs, *(np.eye(len(ELECTRODES))[3:] - (ra + la + ll) / 3)])


def draw(signals: Signals, make: Callable[[np.random.Generator], np.ndarray]) -> Float64[np.ndarray, "record 12 time"]:
    """What disturbs the electrodes, as the 12 leads show it: it obeys the identities between them."""
    drawn = [make(np.random.default_rng(zlib.crc32(name.encode()))) for name in signals.names]
    return np.einsum("le,ret->rlt", electrode_algebra(), np.stack(drawn))


def monitor(signals: Signals) -> Float32[np.ndarray, "record 12 time"]:
    """Only the low edge where the sampling rate cannot carry the high one."""
    low, high = BAND
    return band_pass(signals.values, signals.fs, low, high if high < signals.fs / 2 else None)


def through(hertz: float, signals: Signals) -> Float32[np.ndarray, "record 12 time"]:
    """As a record that was sampled at this rate comes out of reading: resampled to the model's."""
    n_records, n_leads, n_samples = signals.values.shape
    there = resample(signals.values.reshape(-1, n_samples), signals.fs, hertz)
    return resample(there, hertz, signals.fs)[:, :n_samples].reshape(n_records, n_leads, n_samples)


def wander(signals: Signals) -> Float32[np.ndarray, "record 12 time"]:
    seconds = np.arange(signals.values.shape[-1]) / signals.fs

    def make(generator: np.random.Generator) -> np.ndarray:
        return WANDER_MV * perturb.wander(generator.random((2, len(ELECTRODES), 1)), seconds)

    return (signals.values + draw(signals, make)).astype(np.float32)


def noise(decibels: float, signals: Signals) -> Float32[np.ndarray, "record 12 time"]:
    """White noise of the electrodes; the ratio of powers is each record's, over its 12 leads about their means."""
    n_samples = signals.values.shape[-1]
    drawn = draw(signals, lambda generator: generator.standard_normal((9, n_samples)))
    power = signals.values.astype(np.float64).var(axis=-1).mean(axis=-1) / np.square(drawn).mean(axis=(1, 2))
    level = np.sqrt(power / 10 ** (decibels / 10))
    return (signals.values + level[:, None, None] * drawn).astype(np.float32)


def scale(factor: float, signals: Signals) -> Float32[np.ndarray, "record 12 time"]:
    return np.float32(factor) * signals.values


def lose_voltage(axes: tuple[int, ...], signals: Signals) -> Float32[np.ndarray, "record 12 time"]:
    """As files are prepared that keep the shape and not the voltage."""
    return to_typical(signals.values, axes)


def flatten(lead: str, signals: Signals) -> Float32[np.ndarray, "record 12 time"]:
    changed = signals.values.copy()
    changed[:, STANDARD_LEADS.index(lead)] = 0.0
    return changed


def swap_arms(signals: Signals) -> Float32[np.ndarray, "record 12 time"]:
    """Right and left arm for each other: I turns over, II and III change places, and so do aVR and aVL."""
    return perturb.swap_arms(signals.values)


def shorten(signals: Signals) -> Float32[np.ndarray, "record 12 part"]:
    return signals.values[..., : round(SHORT_SECONDS * signals.fs)]


FLAT, MISSING = "one_lead_flat", "one_chest_lead_missing"
FAMILIES = {
    FLAT: "one lead flat at 0 mV",
    MISSING: "one chest lead missing, the model told",
}
PERTURBATIONS = {
    "band_pass": Perturbation(f"band-pass {BAND[0]:g}–{BAND[1]:g} Hz (Butterworth, 2nd order, zero phase)", monitor),
    **{f"from_{hz}_hz": Perturbation(f"sampled at {hz} Hz and resampled", partial(through, hz)) for hz in (250, 1000)},
    "wander": Perturbation(
        f"baseline wander: a sine an electrode, {WANDER_HERTZ[0]:g}–{WANDER_HERTZ[1]:g} Hz, ±{WANDER_MV:g} mV", wander
    ),
    **{f"noise_{db}_db": Perturbation(f"white noise, SNR {db} dB", partial(noise, db)) for db in (18, 12)},
    **{
        f"amplitude_{percent}_percent": Perturbation(f"amplitude {percent} %", partial(scale, percent / 100))
        for percent in (80, 90, 110, 120)
    },
    "voltage_lost": Perturbation(f"voltage lost: each record at {TYPICAL_MV:g} mV RMS", partial(lose_voltage, ALL)),
    "lead_voltages_lost": Perturbation(
        f"voltages lost: each lead at {TYPICAL_MV:g} mV RMS", partial(lose_voltage, EACH_LEAD)
    ),
    "band_pass_voltage_lost": Perturbation(
        f"band-pass {BAND[0]:g}–{BAND[1]:g} Hz, then voltage lost: each record at {TYPICAL_MV:g} mV RMS",
        lambda signals: lose_voltage(ALL, signals._replace(values=monitor(signals))),
    ),
    "arms_swapped": Perturbation("electrodes of the arms swapped", swap_arms),
    "short": Perturbation(f"the first {SHORT_SECONDS:g} s alone, filled up with zeros", shorten),
    **{f"flat_{lead}": Perturbation(f"{lead} flat", partial(flatten, lead), FLAT) for lead in STANDARD_LEADS},
    **{
        f"missing_{lead}": Perturbation(f"{lead} missing", partial(flatten, lead), MISSING, missing=lead)
        for lead in STANDARD_LEADS[6:]
    },
}
