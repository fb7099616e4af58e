"""Reader of one WFDB record that joins no others: its signals in millivolts, from its header and its samples."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer

from data_prep.leads import describe_lead, describe_leads, standard_lead
from data_prep.readers.columns import name_columns, refuse_electrodes, unit_of
from data_prep.readers.files import read_bytes, refuse_pointer
from data_prep.readers.options import ReadOptions
from data_prep.readers.wfdb.formats import FORMATS
from data_prep.readers.wfdb.header import Header, Signal, parse_header
from data_prep.readers.wfdb.samples import read_samples, verify_samples
from data_prep.record import Record, RecordError, Remark
from data_prep.units import NO_UNIT, UNIT_NAMES, UNITS

MAX_HEADER = 2**20
MAX_OFFSET = 1e4
"""Largest distance in millivolts between a lead's digital zero and 0 V. Beyond it a header is refused."""


def read_header(path: Path, missing: str = "there is no such header") -> Header:
    """Return the header at `path`. `missing` is the reason to report if there is none."""
    content = read_bytes(path, MAX_HEADER, missing)
    refuse_pointer(path.name, content)
    return parse_header(path.name, content)


def read_segment(path: Path, header: Header, options: ReadOptions, n_frames: int, n_read: int) -> Record:
    """Return the first `n_read` of a record's `n_frames`."""
    voltages = select_voltages(path, header, options)
    digital = read_samples(path, header, n_read)
    remark = verify_samples(path.name, digital, voltages.header, whole=n_read == n_frames)
    return voltages.record(digital, remark, n_frames / header.fs if n_read < n_frames else None)


class Voltages(NamedTuple):
    """Signals of a record that are read, and the gains that turn their samples into millivolts."""

    name: str
    header: Header
    """The header, with the user's names of its leads."""
    kept: list[int]
    """Indices of the signals that are voltages."""
    per_mv: list[float]
    """Their units in a millivolt."""
    remarks: tuple[Remark, ...]
    options: ReadOptions

    @property
    def signals(self) -> list[Signal]:
        """Signals that are voltages."""
        return [self.header.signals[index] for index in self.kept]

    @property
    def fs(self) -> float:
        """Sampling rate, in hertz."""
        return self.header.fs * self.header.signals[0].per_frame

    def record(
        self, digital: Integer[np.ndarray, "time signal"], remark: Remark | None, total_seconds: float | None
    ) -> Record:
        """Return the record of these samples."""
        signals = self.signals
        remarks = self.remarks + (() if remark is None else (remark,)) + _odd_ones_out(signals, self.per_mv)
        units = {self.options.unit or signal.unit for signal in signals}
        if len(self.kept) < len(self.header.signals):
            digital = digital[:, self.kept]
        return Record(
            self.name,
            _millivolts(digital, signals, self.per_mv),
            self.fs,
            tuple([signal.lead for signal in signals]),
            remarks,
            calibrated=NO_UNIT not in [self.options.unit or signal.unit for signal in signals],
            total_seconds=total_seconds,
            unit=units.pop() if len(units) == 1 else None,
        )


def select_voltages(path: Path, header: Header, options: ReadOptions) -> Voltages:
    """Return the signals of a record that are voltages, and their scales.

    Raises:
        RecordError: there are none, or a scale cannot be.
    """
    header = name_leads(path.name, header, options)
    kept, remarks = voltage_indices(path.name, header, options)
    per_mv = [_gain_per_mv(path.name, header.signals[index], index + 1, options) for index in kept]
    return Voltages(path.stem, header, kept, per_mv, remarks, options)


def name_leads(name: str, header: Header, options: ReadOptions) -> Header:
    """Return the header with the user's names of its leads."""
    for number, signal in enumerate(header.signals, 1):
        if signal.unit in UNITS:
            label = describe_lead(signal.lead, number, "signal")
            unit_of(f"{name}: {label}", signal.lead, signal.unit, options)
    leads = name_columns([signal.lead for signal in header.signals], options)
    signals = [s._replace(lead=options.lead_of(lead)) for s, lead in zip(header.signals, leads, strict=True)]
    return replace(header, signals=tuple(signals))


def voltage_indices(name: str, header: Header, options: ReadOptions) -> tuple[list[int], tuple[Remark, ...]]:
    """Return the indices of the signals that are voltages, and a remark on each that is not."""
    refuse_electrodes(name, [signal.lead for signal in header.signals])
    kept, remarks = [], []
    for index, signal in enumerate(header.signals):
        is_lead = standard_lead(signal.lead) is not None
        is_voltage = signal.unit in UNITS and signal.unit != NO_UNIT
        if is_voltage or (is_lead and (options.unit or signal.unit == NO_UNIT)):
            kept.append(index)
        elif is_lead:
            raise RecordError(
                f"{name}: {describe_lead(signal.lead, index + 1)} has a unit that is not one of {UNIT_NAMES}; "
                "pass --unit to say which one is meant."
            )
        else:
            sentence = f"signal {index + 1} is not in a unit of voltage and is left out."
            remarks.append(Remark("column-left-out", sentence))
    if not kept:
        raise RecordError(f"{name} holds no voltage: none of its {len(header.signals)} signals is in {UNIT_NAMES}.")
    return kept, tuple(remarks)


def _gain_per_mv(name: str, signal: Signal, number: int, options: ReadOptions) -> float:
    label = describe_lead(signal.lead, number, "signal")
    if signal.gain is None:
        raise RecordError(f"{name} states no gain for {label}; write the units in a millivolt, as 1000/mV.")
    unit = options.unit or signal.unit
    gain = signal.gain / UNITS[unit]
    if not 1e-3 <= gain <= 1e9:
        hint = "0 means uncalibrated in WFDB; write the real one" if signal.gain == 0 else "write the real one"
        raise RecordError(f"{name}: the gain of {label} is {signal.gain:g} per {unit}; {hint}.")
    if abs(signal.baseline) / gain > MAX_OFFSET:
        raise RecordError(f"{name}: the baseline of {label}, {signal.baseline}, is beyond that of any ECG.")
    return gain


def _odd_ones_out(signals: list[Signal], per_mv: list[float]) -> tuple[Remark, ...]:
    """Return a remark if a minority of leads differ in gain or baseline, as in a damaged header."""
    scales = [(gain, signal.baseline) for gain, signal in zip(per_mv, signals, strict=True)]
    if len(set(scales)) == 1:
        return ()
    usual, count = Counter(scales).most_common(1)[0]
    if 2 * count <= len(scales):
        return ()
    odd = describe_leads([signal.lead for signal, scale in zip(signals, scales, strict=True) if scale != usual])
    sentence = f"gain or baseline of lead {odd} differ from those of the other leads; is the header intact?"
    return (Remark("other-scale", sentence),)


def _millivolts(digital: np.ndarray, signals: list[Signal], per_mv: list[float]) -> np.ndarray:
    """Return millivolts in float32, stored lead by lead in memory, because every later step runs along time."""
    signal = np.empty(digital.shape[::-1], np.float32)
    baseline = np.array([signal.baseline for signal in signals], np.float64)[:, None]
    if baseline.any():
        np.subtract(digital.T, baseline, out=signal, casting="unsafe")
    else:
        signal[:] = digital.T
    signal /= np.array(per_mv, np.float32)[:, None]
    invalid = np.array([FORMATS[signal.format].invalid for signal in signals])
    if digital.min() <= invalid.max():
        signal.T[digital == invalid] = np.nan
    return signal.T
