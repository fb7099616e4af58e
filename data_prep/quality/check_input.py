"""The leads of one record, as every check of the list sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from data_prep.filters import band_pass
from data_prep.leads import BASIS_LEADS
from data_prep.quality.steps import steps

BAND = (0.5, 40.0)
"""Band in hertz in which leads are compared with each other."""


class Extremes(NamedTuple):
    """Smallest and largest value of each lead, in mV."""

    lowest: Float32[np.ndarray, " lead"]
    highest: Float32[np.ndarray, " lead"]

    @property
    def spans(self) -> Float32[np.ndarray, " lead"]:
        return self.highest - self.lowest


@dataclass(frozen=True)
class CheckInput:
    """Leads of a record in mV: as preprocessing leaves them, and as the file has them."""

    leads: tuple[str, ...]
    """Standard leads of `signal`: all twelve, or those that the file has where it lacks some."""
    signal: Float32[np.ndarray, "lead time"]
    """Leads after resampling, leveling and filtering. Those that are derived or estimated are among them."""
    fs: float
    """Sampling rate of `signal`, in hertz."""
    recorded_leads: tuple[str, ...]
    recorded: Float32[np.ndarray, "recorded_lead recorded_time"]
    """Leads of the file without gaps, dead leads included, at the file's rate and with its offsets."""
    recorded_fs: float
    unit: str | None = "mV"
    """Unit in which the file's values were read; None where it differs between leads."""
    calibrated: bool = True
    """Whether the values are voltages. Otherwise they were scaled to a typical one, and sizes in mV mean nothing."""
    band: Sequence[float] | None = None
    """Band of `signal` in hertz, if it was filtered."""
    related: bool = True
    """Whether the leads share one voltage scale, so that the algebra between them holds."""
    reconstructed: frozenset[str] = frozenset()
    """Leads that a model reconstructed."""
    dead: frozenset[str] = frozenset()
    """Leads of the file that carry no ECG, and are replaced in `signal`."""
    unmeasured: frozenset[str] = frozenset()
    """Leads that a model reconstructed, or that were estimated from the others."""

    @cached_property
    def spans(self) -> Float32[np.ndarray, " lead"]:
        """Largest less smallest value of each lead of `signal`, in mV."""
        return self.signal.max(axis=1) - self.signal.min(axis=1)

    @cached_property
    def recorded_extremes(self) -> Extremes:
        """Smallest and largest value of each lead of `recorded`."""
        return Extremes(self.recorded.min(axis=1), self.recorded.max(axis=1))

    @cached_property
    def deviations(self) -> Float32[np.ndarray, " lead"]:
        """Standard deviation of each lead of `signal`, in mV."""
        return self.signal.std(axis=1)

    @cached_property
    def filtered(self) -> Float32[np.ndarray, "lead time"]:
        """`signal` in BAND."""
        if self.band == BAND:
            return self.signal
        low, high = BAND
        return band_pass(self.signal, self.fs, low, min(high, 0.4 * self.fs))

    @cached_property
    def measured(self) -> tuple[str, ...]:
        """Those of the eight independent leads that were measured, in the order of BASIS_LEADS."""
        return tuple(lead for lead in BASIS_LEADS if lead in self.leads and lead not in self.unmeasured)

    @cached_property
    def steps(self) -> Float32[np.ndarray, "lead step"]:
        """Steps of the leads `measured`, in mV."""
        return steps(self.filtered[[self.leads.index(lead) for lead in self.measured]], self.fs)

    @cached_property
    def unpadded(self) -> slice:
        """The samples of `filtered` from the first to the last change in the file. Padding is another finding."""
        recorded, whole = self.recorded, slice(0, self.filtered.shape[1])
        first, second, last_but_one, last = recorded.T[[0, 1, -2, -1]]
        if (first != second).any() and (last_but_one != last).any():  # no padding, which is quicker to see
            return whole
        changes = np.flatnonzero((recorded[:, 1:] != recorded[:, :-1]).any(axis=0))
        if not len(changes):
            return whole
        start, stop = (round(edge * self.fs / self.recorded_fs) for edge in (changes[0], changes[-1] + 2))
        return slice(start, stop)

    @cached_property
    def independent(self) -> Float64[np.ndarray, "8 time"] | None:
        """The eight independent leads of `filtered`, in the order of BASIS_LEADS, or None unless all were measured."""
        if self.unmeasured or not set(BASIS_LEADS) <= set(self.leads):
            return None
        return self.filtered[[self.leads.index(lead) for lead in BASIS_LEADS]].astype(np.float64)
