"""The steps from a record to the model's input, the same for training and for prediction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

from data_prep.filters import band_pass, resample
from data_prep.leads import LIMB_LEADS, STANDARD_LEADS
from data_prep.quality import CheckInput, Finding, check_signal, has_failure, refuse_failures
from data_prep.quality.flat_leads import check_flat_leads, complete_leads, find_dead
from data_prep.quality.gaps import check_gaps, fill_gaps
from data_prep.quality.lead_names import check_leads, find_estimated, find_leads, find_reconstructed
from data_prep.quality.length import SHORTEST, check_fit, check_length
from data_prep.quality.lost_voltage import AXES, Loss, find_loss, find_loss_in_parts, to_typical
from data_prep.record import Record, Recording
from data_prep.units import HIGHEST


@dataclass(frozen=True)
class Prepared:
    """A record after Preprocess."""

    signal: Float32[np.ndarray, "lead time"]
    """The 12 standard leads in their order, in millivolts."""
    findings: tuple[Finding, ...] = ()
    """Remarks of the reader, oddities of the record, and changes that were made to it."""
    loss: Loss | None = None
    """Loss of the voltage scale. The signal is then scaled to a typical voltage."""


class Examined(NamedTuple):
    """Result of examining a record."""

    signal: Float32[np.ndarray, "lead time"] | None
    """The 12 standard leads in standard form, or None where a finding prevents the record's use."""
    findings: tuple[Finding, ...]
    loss: Loss | None = None


class Recorded(NamedTuple):
    """Standard leads as the file has them, and how they lost their voltage scale."""

    leads: tuple[str, ...]
    signal: Float32[np.ndarray, "lead time"]
    loss: Loss | None

    @property
    def related(self) -> bool:
        """Whether the leads share one voltage scale, so that the algebra between them holds."""
        return self.loss is None or self.loss.of != "lead"


class VoltageScale(NamedTuple):
    """Voltage scale of a record. All samples decide whether it was lost, because one window may not show it."""

    loss: Loss | None


def find_scale(recording: Recording) -> VoltageScale:
    """Return how a recording lost its voltage scale, as far as its standard leads show it."""
    columns = find_leads(recording.leads)
    if isinstance(recording, Record):
        return VoltageScale(find_loss(_in_order(columns, recording.signal.T)[1], recording.calibrated))
    first = [indices[0] for indices in columns.values()]
    return VoltageScale(
        find_loss_in_parts(lambda: (part.signal.T[first] for part in recording.parts()), recording.calibrated)
    )


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Settings of the preprocessing. An instance is called with a record and returns an array of one fixed shape."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where a config nests this class

    fs: int = 100
    """Sampling rate of the result, in hertz."""
    seconds: float = 10.0
    """Length of the result. Longer records are cut off at the end, shorter ones are padded with zeros."""
    baseline: Literal["keep", "mean"] = "mean"
    """`mean` subtracts each lead's mean, which preserves the identities between leads."""
    band: Sequence[float] | None = None
    """Pass band in hertz of a zero-phase second-order Butterworth filter, run forward and backward."""

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

    def __call__(self, record: Record, start: int = 0, scale: "VoltageScale | None" = None) -> Prepared:
        """Return `seconds` of the record in standard form, from the sample `start` on.

        `scale` is what `find_scale` returns for the record, which callers with many windows compute once.

        Raises:
            QualityError: the record is not a plausible 12-lead ECG.
        """
        examined = self.examine(record, start, scale)
        refuse_failures(record.name, examined.findings)
        assert examined.signal is not None  # noqa: S101, there was no failure
        return Prepared(examined.signal, examined.findings, examined.loss)

    def examine(self, record: Record, start: int = 0, scale: "VoltageScale | None" = None) -> Examined:
        """Return `seconds` of the record in standard form if they can be used, and all findings on them."""
        findings = [Finding(*remark) for remark in record.remarks]
        findings += check_length(record, min(SHORTEST, self.seconds))
        if has_failure(findings):
            return Examined(None, tuple(findings))
        needed = self.n_needed(record.fs)
        findings += check_fit(record, needed, self.seconds, self.fs)
        columns = find_leads(record.leads)
        if not columns:
            return Examined(None, (*findings, *check_leads(record)))
        leads, whole = _in_order(columns, record.signal.T)
        loss = find_loss(whole, record.calibrated) if scale is None else scale.loss
        recorded = Recorded(leads, np.ascontiguousarray(whole[:, start : start + needed]), loss)
        findings += check_leads(record, recorded.related)
        filled = fill_gaps(leads, recorded.signal, record.fs, findings, recorded.related)
        if gaps := tuple(check_gaps(leads, filled)):
            return Examined(None, (*findings, *gaps))
        signal = self._standardize(record, recorded._replace(signal=filled), findings)
        if has_failure(findings):
            return Examined(None, tuple(findings), loss)
        signal = self._pad(_clip(signal, findings), nearly=record.signal.shape[0] >= needed - 1)
        return Examined(signal, tuple(findings), loss)

    def _standardize(
        self, record: Record, recorded: Recorded, findings: list[Finding]
    ) -> Float32[np.ndarray, "lead part"]:
        """Return leads without gaps in standard form, with dead and missing ones replaced, and add findings on them.

        Where too many leads are dead, those that are left are returned. The findings then have a failure.
        """
        leads, signal, loss = recorded
        related = recorded.related
        reconstructed = frozenset(find_reconstructed(record.leads))
        dead = [lead for lead in find_dead(leads, signal, record.fs, loss is not None) if lead not in reconstructed]
        absent = find_estimated(record.leads, related)
        findings += check_flat_leads(leads, dead, related, len(absent))
        lost = (*dead, *absent)
        estimated = {lead for lead in lost if lead not in LIMB_LEADS or not related}
        usable = not has_failure(findings)
        known, kept = _complete(leads, signal, lost, related) if usable else _without(dead, leads, signal)
        standard = self.level(resample(kept, record.fs, self.fs)[:, : self.n_samples])
        if loss is not None:
            findings.append(loss.finding)
            standard, signal = to_typical(standard, AXES[loss.of]), to_typical(signal, AXES[loss.of])
        findings += check_signal(
            CheckInput(
                leads=known,
                signal=standard,
                fs=self.fs,
                recorded_leads=leads,
                recorded=signal,
                recorded_fs=record.fs,
                unit=record.unit,
                calibrated=loss is None,
                band=self.band,
                related=related,
                reconstructed=reconstructed,
                dead=frozenset(dead),
                unmeasured=reconstructed | estimated,
            )
        )
        return standard

    def n_needed(self, fs: float) -> int:
        """Return the number of samples that make `seconds` at a rate of `fs` hertz."""
        return math.ceil(self.seconds * fs - 1e-6)

    def _pad(self, signal: Float32[np.ndarray, "lead part"], nearly: bool) -> Float32[np.ndarray, "lead time"]:
        """Pad a signal with zeros, or with its last value where it is `nearly` as long as the input."""
        if short := self.n_samples - signal.shape[1]:
            signal = np.pad(signal, ((0, 0), (0, short)), "edge" if nearly else "constant")
        return np.ascontiguousarray(signal)

    def level(self, signal: Float32[np.ndarray, "*rest time"]) -> Float32[np.ndarray, "*rest time"]:
        """Return a signal at the rate `fs` with the baseline and band of the settings."""
        if self.baseline == "mean":
            signal = signal - signal.mean(axis=-1, keepdims=True)
        if self.band is not None:
            signal = band_pass(signal, self.fs, *self.band)
        return signal


def _clip(signal: Float32[np.ndarray, "lead time"], findings: list[Finding]) -> Float32[np.ndarray, "lead time"]:
    """Return the signal within what a prepared folder can hold, and add a finding if values were cut off."""
    largest = float(max(signal.max(), -signal.min()))
    if largest <= HIGHEST:
        return signal
    findings.append(Finding("clipped", f"values up to {largest:.3g} mV are cut off at {HIGHEST} mV.", value=largest))
    return np.clip(signal, -HIGHEST, HIGHEST)


def _is_real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _checked_band(band: object, fs: int) -> tuple[float, float]:
    if not isinstance(band, tuple | list) or len(band) != 2 or not all(map(_is_real, band)):
        raise ValueError(f"preprocess.band: {band!r} must be two numbers of hertz, or null.")
    low, high = map(float, band)
    if not 0 < low < high < fs / 2:
        raise ValueError(f"preprocess.band: {low:g} to {high:g} Hz must rise, above 0 and below {fs / 2:g} Hz.")
    return low, high


def _in_order(
    columns: dict[str, tuple[int, ...]], signal: Float32[np.ndarray, "column time"]
) -> tuple[tuple[str, ...], Float32[np.ndarray, "lead time"]]:
    """Return the standard leads among the `columns` in their order, and their rows."""
    leads = tuple(lead for lead in STANDARD_LEADS if lead in columns)
    order = [columns[lead][0] for lead in leads]
    # sums depend on the order in memory, and are quickest along it
    return leads, np.ascontiguousarray(signal[: len(order)] if order == list(range(len(order))) else signal[order])


def _complete(
    leads: tuple[str, ...], signal: Float32[np.ndarray, "lead time"], lost: Sequence[str], related: bool
) -> tuple[tuple[str, ...], Float32[np.ndarray, "12 time"]]:
    """Return all 12 leads where those that are lost, and limb leads that are missing, follow from the others."""
    if not lost and leads == STANDARD_LEADS:
        return leads, signal
    return STANDARD_LEADS, complete_leads(dict(zip(leads, signal, strict=True)), lost, related)


def _without(
    dead: Sequence[str], leads: tuple[str, ...], signal: Float32[np.ndarray, "lead time"]
) -> tuple[tuple[str, ...], Float32[np.ndarray, "living time"]]:
    """Return the leads that are not dead."""
    living = tuple(lead for lead in leads if lead not in dead)
    return living, signal[[leads.index(lead) for lead in living]]
