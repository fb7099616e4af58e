"""The steps from a record to the model's input, the same for training and for prediction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float32
from scipy.signal import butter, resample_poly, sosfiltfilt

from data_prep.dead_leads import FEWEST_LIMB_LEADS, complete_leads, find_dead
from data_prep.gaps import fill_gaps
from data_prep.leads import (
    BASIS_LEADS,
    LIMB_LEADS,
    STANDARD_LEADS,
    derive_limb_leads,
    describe_leads,
    is_reconstructed,
    standard_lead,
)
from data_prep.lost_voltage import AXES, Loss, find_loss, to_typical
from data_prep.noise_leads import BAND, find_noise
from data_prep.plausible import clip, identity_doubts, refuse_gaps, require_size, size_doubts
from data_prep.record import Record, RecordError

__all__ = ["BASIS_LEADS", "STANDARD_LEADS", "Prepared", "Preprocess", "standard_lead"]

SHORTEST = 2.5
"""Seconds. A shorter record is refused. A longer one that does not fill the input is padded."""
RATES = (50.0, 50_000.0)
"""Lowest and highest sampling rate of an ECG, in hertz."""
MIRRORED = 1.5
"""Length by which a record is mirrored at its ends before it is filtered, in periods of the filter's lower edge."""
CLOCK = 1e-6
"""Relative error allowed in the ratio of two rates. A recorder's own clock is off by ten times as much."""
LONGEST = 1_000_000
"""Largest denominator. Some fraction p/q up to it is within CLOCK of any ratio below one, since its error is less than
1 / (p LONGEST)."""


@dataclass(frozen=True)
class Prepared:
    """A record after Preprocess."""

    signal: Float32[np.ndarray, "lead time"]
    """The 12 standard leads in their order, in millivolts."""
    warnings: tuple[str, ...]
    """The record's own warnings, and what had to be done to it."""
    loss: Loss | None = None
    """Loss of the voltage scale. The signal is then scaled to a typical voltage."""
    doubts: tuple[str, ...] = ()
    """Warnings that forbid a decision, which `warnings` holds as well."""


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Settings of the preprocessing. An instance is called with a record and returns an array of one fixed shape."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where a config nests this class

    fs: int = 100
    """Sampling rate of the result, in hertz."""
    seconds: float = 10.0
    """Length of the result. Longer records lose their end, shorter ones are padded with zeros."""
    baseline: Literal["keep", "mean"] = "mean"
    """`mean` subtracts each lead's mean, which preserves the identities between leads."""
    band: Sequence[float] | None = None
    """Pass band in hertz of a zero-phase second-order Butterworth filter, run forwards and backwards."""

    def __post_init__(self) -> None:
        if isinstance(self.fs, bool) or not isinstance(self.fs, int) or not 50 <= self.fs <= 10_000:
            raise ValueError(f"preprocess.fs: {self.fs!r} must be a whole number of hertz from 50 to 10000.")
        if not _is_real(self.seconds) or not 1 <= self.seconds <= 86_400:
            raise ValueError(f"preprocess.seconds: {self.seconds!r} must be a number from 1 to 86400.")
        if abs(self.fs * self.seconds - self.n_samples) > 1e-6:
            raise ValueError(f"preprocess.seconds: {self.seconds} s at {self.fs} Hz are not a whole number of samples.")
        if self.baseline not in ("keep", "mean"):
            raise ValueError(f"preprocess.baseline: {self.baseline!r} is not one of keep, mean.")
        if self.band is not None:
            object.__setattr__(self, "band", _checked_band(self.band, self.fs))  # JSON and YAML bring lists

    @property
    def n_samples(self) -> int:
        """Number of samples of a lead in the result."""
        return round(self.fs * self.seconds)

    def __call__(self, record: Record) -> Prepared:
        """Return the record's first `seconds` in standard form.

        Raises:
            RecordError: the record is not a plausible 12-lead ECG.
        """
        warnings = list(record.warnings)
        signal = self._cut(record, warnings)
        columns = [indices[0] for indices in find_leads(record.leads).values()]
        loss = find_loss(record.signal.T[columns], record.calibrated)
        related = loss is None or loss.of != "lead"
        leads, signal = _pick_leads(record, signal, warnings, related)
        signal = fill_gaps(leads, signal, record.fs, warnings, related)
        refuse_gaps(record.name, leads, signal)
        reconstructed = {lead for name in record.leads if is_reconstructed(name) and (lead := standard_lead(name))}
        dead = [lead for lead in find_dead(leads, signal, record.fs, loss is not None) if lead not in reconstructed]
        if dead or len(leads) < len(STANDARD_LEADS):
            signal = complete_leads(record.name, dict(zip(leads, signal, strict=True)), dead, warnings, related)
        signal = np.ascontiguousarray(signal)  # sums depend on the order in memory
        signal = self.level(resample(signal, record.fs, self.fs)[:, : self.n_samples])
        if loss is not None:
            warnings.append(loss.warning)
            signal = to_typical(signal, AXES[loss.of])
        require_size(record.name, signal, unit=record.unit, reconstructed=reconstructed)
        estimated = [lead for lead in dead if lead not in LIMB_LEADS or not related]
        doubts = size_doubts(STANDARD_LEADS, signal) or self._noise_doubts(signal, {*reconstructed, *estimated})
        if related:
            doubts += identity_doubts(dict(zip(STANDARD_LEADS, signal, strict=True)))
        warnings += doubts
        signal = clip(signal, warnings)
        if short := self.n_samples - signal.shape[1]:
            nearly = record.signal.shape[0] >= self._needed(record.fs) - 1  # a fraction of an interval
            signal = np.pad(signal, ((0, 0), (0, short)), "edge" if nearly else "constant")
        return Prepared(np.ascontiguousarray(signal), tuple(warnings), loss, tuple(doubts))

    def _noise_doubts(self, signal: Float32[np.ndarray, "lead time"], excluded: set[str]) -> list[str]:
        """Return the reason why no decision should be made where leads are noise."""
        low, high = BAND
        noise = find_noise(STANDARD_LEADS, band_pass(signal, self.fs, low, min(high, 0.4 * self.fs)), excluded)
        return [f"lead {', '.join(noise)} noise: the other leads explain nothing of it."] if noise else []

    def level(self, signal: Float32[np.ndarray, "*rest time"]) -> Float32[np.ndarray, "*rest time"]:
        """Return a signal at the rate `fs` with the baseline and band of the settings."""
        if self.baseline == "mean":
            signal = signal - signal.mean(axis=-1, keepdims=True)
        if self.band is not None:
            signal = band_pass(signal, self.fs, *self.band)
        return signal

    def _needed(self, fs: float) -> int:
        """Return the number of samples at `fs` hertz that `seconds` take."""
        return math.ceil(self.seconds * fs - 1e-6)

    def _cut(self, record: Record, warnings: list[str]) -> Float32[np.ndarray, "lead time"]:
        refuse_rate_and_length(record, min(SHORTEST, self.seconds))
        n_samples = record.signal.shape[0]
        needed = self._needed(record.fs)
        if n_samples > needed or record.total_seconds is not None:
            warnings.append(f"lasts {record.seconds:.5g} s; only the first {self.seconds:g} s are used.")
        if n_samples < needed - 1:
            warnings.append(f"lasts {record.seconds:.5g} s; filled up with zeros to {self.seconds:g} s.")
        if record.fs < self.fs:  # nothing is in it above half its own rate
            warnings.append(f"sampled at {record.fs:g} Hz, upsampled to {self.fs} Hz.")
        return record.signal[:needed].T


def refuse_rate_and_length(record: Record, shortest: float = SHORTEST) -> None:
    """Raise RecordError if no ECG has the record's sampling rate, or if it lasts less than `shortest` seconds."""
    if not RATES[0] <= record.fs <= RATES[1]:
        raise RecordError(
            f"{record.name}: a sampling rate of {record.fs:g} Hz is not that of an ECG; "
            f"{RATES[0]:g} to {RATES[1]:g} Hz are read."
        )
    n_samples = record.signal.shape[0]
    if n_samples / record.fs < shortest:
        raise RecordError(
            f"{record.name} lasts {n_samples / record.fs:.3g} s ({n_samples} samples at {record.fs:g} Hz); "
            f"at least {shortest:g} s are needed."
        )


def _is_real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _checked_band(band: object, fs: int) -> tuple[float, float]:
    if not isinstance(band, tuple | list) or len(band) != 2 or not all(map(_is_real, band)):
        raise ValueError(f"preprocess.band: {band!r} must be two numbers of hertz, or null.")
    low, high = map(float, band)
    if not 0 < low < high < fs / 2:
        raise ValueError(f"preprocess.band: {low:g} to {high:g} Hz must rise, above 0 and below {fs / 2:g} Hz.")
    return low, high


@lru_cache(maxsize=256)
def find_leads(leads: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Return the columns that hold each standard lead, by lead."""
    columns: dict[str, tuple[int, ...]] = {}
    for index, name in enumerate(leads):
        if standard := standard_lead(name):
            columns[standard] = (*columns.get(standard, ()), index)
    return columns


def _pick_leads(
    record: Record, signal: Float32[np.ndarray, "lead time"], warnings: list[str], related: bool
) -> tuple[tuple[str, ...], Float32[np.ndarray, "kept time"]]:
    """Return the standard leads that the file has, in their order, and their rows.

    Limb leads may be missing only where the leads are `related`, that is, have one voltage scale.
    """
    columns = find_leads(record.leads)
    refuse_twice(record, columns)
    reconstructed = [name for name, indices in columns.items() if is_reconstructed(record.leads[indices[0]])]
    if reconstructed:
        warnings.append(f"lead {', '.join(reconstructed)} reconstructed by a model, not measured.")
    order = [columns[name][0] for name in STANDARD_LEADS if name in columns]
    if len(order) == len(STANDARD_LEADS):
        return STANDARD_LEADS, signal[:12] if order == list(range(12)) else signal[order]
    rows = {name: signal[indices[0]] for name, indices in columns.items()}
    derived = derive_limb_leads(rows)
    missing = [name for name in STANDARD_LEADS if name not in rows]
    refuse_missing(record, missing)
    if not related:
        raise RecordError(
            f"{record.name}: no lead {', '.join(derived)}, and they cannot be computed from the other limb leads, each "
            "of which lost its voltage by itself; give all twelve, or leads in mV."
        )
    warnings.append(f"no lead {', '.join(derived)} in the file; computed from the other limb leads.")
    return tuple(name for name in STANDARD_LEADS if name in columns), signal[order]


def refuse_missing(record: Record, missing: Sequence[str]) -> None:
    """Raise RecordError if leads are missing. The message says how to name columns that could complete the record."""
    if not missing:
        return
    raise RecordError(
        f"{record.name}: no lead {', '.join(missing)}; it has {describe_leads(record.leads)}.{_remedy(record, missing)}"
    )


def _remedy(record: Record, missing: Sequence[str]) -> str:
    """Return how to name the leads of unknown columns, or an empty text where they are too few. No pair is guessed.

    The columns' own names are not quoted, because one may be a patient's.
    """
    unknown = [str(number) for number, name in enumerate(record.leads, 1) if standard_lead(name) is None]
    chest = [lead for lead in missing if lead not in LIMB_LEADS]
    n_limb = len(LIMB_LEADS) - (len(missing) - len(chest))
    if not unknown or len(unknown) < len(chest) + max(FEWEST_LIMB_LEADS - n_limb, 0):
        return ""
    columns = f"column {unknown[0]} is" if len(unknown) == 1 else f"columns {', '.join(unknown[:12])} are"
    return (
        f" If {columns} among them, pass --leads NAME=LEAD,... with each column's name for NAME and its lead for LEAD."
    )


def refuse_twice(record: Record, columns: dict[str, tuple[int, ...]]) -> None:
    """Raise RecordError if a lead occurs in more than one column."""
    twice = [name for name, indices in columns.items() if len(indices) > 1]
    if twice:
        names = ", ".join(record.leads[index] for index in columns[twice[0]])
        raise RecordError(f"{record.name}: lead {twice[0]} occurs more than once ({names}); keep one of them.")


def resample(signal: Float32[np.ndarray, "lead time"], old: float, new: float) -> Float32[np.ndarray, "lead resampled"]:
    """Return the signal at another sampling rate, in hertz."""
    if old == new:
        return signal
    ratio = ratio_of(new, old)
    # extended beyond its ends along the line between them, since zeros there would ring
    resampled = resample_poly(signal, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    return resampled.astype(np.float32, copy=False)


def ratio_of(new: float, old: float) -> Fraction:
    """Return new / old to within CLOCK, in small numbers, since the filter is as long as the larger of them."""
    if new > old:
        return 1 / ratio_of(old, new)
    exact = Fraction(new) / Fraction(old)
    nearest = (exact.limit_denominator(limit) for limit in (10_000, 100_000, LONGEST))
    return next(ratio for ratio in nearest if abs(ratio / exact - 1) <= CLOCK)


def band_pass(
    signal: Float32[np.ndarray, "*rest time"], fs: float, low: float, high: float | None
) -> Float32[np.ndarray, "*rest time"]:
    """Apply a second-order Butterworth filter forwards and backwards.

    The edges are in hertz. Without a higher edge it is a high-pass filter.
    """
    if high is None:
        filters = butter(2, low, "highpass", fs=fs, output="sos")
    else:
        filters = butter(2, (low, high), "bandpass", fs=fs, output="sos")
    # a record that begins within a beat rings least where it is mirrored
    reach = min(signal.shape[-1] - 1, round(MIRRORED * fs / low))
    return sosfiltfilt(filters, signal, axis=-1, padtype="even", padlen=reach).astype(np.float32)
