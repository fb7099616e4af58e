"""WFDB records (.hea with .dat or .mat): PhysioNet's format, and PTB-XL's.

Plain 16-bit records are read here, in about a twentieth of the time that the `wfdb` package takes; `wfdb` reads the
other formats. Either way the same checks follow, because `wfdb` itself compares neither lengths nor checksums.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.leads import standard_lead
from data_prep.readers.columns import unit_of
from data_prep.readers.files import read_bytes
from data_prep.readers.options import ReadOptions
from data_prep.readers.wfdb_header import Header, Signal, parse_header
from data_prep.readers.wfdb_samples import INVALID, read_samples, verify_samples
from data_prep.record import NO_UNIT, Record, RecordError
from data_prep.units import UNIT_NAMES, UNITS

SUFFIXES: tuple[str, ...] = (".hea", ".dat", ".mat")
MAX_HEADER = 2**20
MAX_OFFSET = 1e4
"""Millivolts between a lead's digital zero and 0 V beyond which a header is not believed."""


def read(path: Path, options: ReadOptions) -> Record:
    """The record of this header, or of the header beside this .dat or .mat file."""
    if path.suffix.lower() != ".hea":
        path = path.with_suffix(".hea")
    content = read_bytes(path, MAX_HEADER, "there is no such header; a WFDB record needs one beside its samples")
    header = parse_header(path.name, content)
    header = replace(header, signals=tuple([_named(path.name, signal, options) for signal in header.signals]))
    kept, warnings = _voltages(path.name, header, options)
    per_mv = [_gain_per_mv(path.name, header.signals[index], options) for index in kept]
    digital = read_samples(path, header)
    warnings += verify_samples(path.name, digital, header)
    if len(kept) < len(header.signals):
        digital = digital[:, kept]
    signals = [header.signals[index] for index in kept]
    warnings += _odd_ones_out(signals, per_mv)
    return Record(
        path.stem,
        _millivolts(digital, signals, per_mv),
        header.fs * signals[0].per_frame,
        tuple([signal.lead for signal in signals]),
        warnings,
        calibrated=all((options.unit or signal.unit) != NO_UNIT for signal in signals),
    )


def _named(name: str, signal: Signal, options: ReadOptions) -> Signal:
    """Return the signal under the name that the user gave its lead."""
    if signal.unit in UNITS:
        unit_of(name, signal.lead, signal.unit, options)
    return signal._replace(lead=options.lead_of(signal.lead))


def _voltages(name: str, header: Header, options: ReadOptions) -> tuple[list[int], tuple[str, ...]]:
    """Which signals are voltages, and a warning on each that is not."""
    kept, warnings = [], []
    for index, signal in enumerate(header.signals):
        is_lead = standard_lead(signal.lead) is not None
        is_voltage = signal.unit in UNITS and signal.unit != NO_UNIT
        if is_voltage or (is_lead and (options.unit or signal.unit == NO_UNIT)):
            kept.append(index)
        elif is_lead:
            raise RecordError(
                f"{name}: lead {signal.lead} is in {signal.unit!r}; known units are {UNIT_NAMES}. "
                "Pass --unit to say which one is meant."
            )
        else:
            warnings.append(f"signal {signal.lead} is in {signal.unit!r}, which is no voltage; it is left out.")
    if not kept:
        raise RecordError(f"{name} holds no voltage; its signals are in {', '.join(s.unit for s in header.signals)}.")
    return kept, tuple(warnings)


def _gain_per_mv(name: str, signal: Signal, options: ReadOptions) -> float:
    if signal.gain is None:
        raise RecordError(f"{name} states no gain for lead {signal.lead}; write the units in a millivolt, as 1000/mV.")
    unit = options.unit or signal.unit
    gain = signal.gain / UNITS[unit]
    if not 1e-3 <= gain <= 1e9:
        hint = "0 means uncalibrated in WFDB; write the real one" if signal.gain == 0 else "write the real one"
        raise RecordError(f"{name}: the gain of lead {signal.lead} is {signal.gain:g} per {unit}; {hint}.")
    if abs(signal.baseline) / gain > MAX_OFFSET:
        raise RecordError(f"{name}: the baseline of lead {signal.lead}, {signal.baseline}, is beyond any ECG's.")
    return gain


def _odd_ones_out(signals: list[Signal], per_mv: list[float]) -> tuple[str, ...]:
    """A warning if most leads agree on gain and baseline and few do not: that is how a damaged header looks."""
    scales = [(gain, signal.baseline) for gain, signal in zip(per_mv, signals, strict=True)]
    if len(set(scales)) == 1:
        return ()
    usual, count = Counter(scales).most_common(1)[0]
    if 2 * count <= len(scales):
        return ()
    odd = ", ".join(signal.lead for signal, scale in zip(signals, scales, strict=True) if scale != usual)
    return (f"gain or baseline of lead {odd} differ from those of the other leads; is the header intact?",)


def _millivolts(digital: np.ndarray, signals: list[Signal], per_mv: list[float]) -> np.ndarray:
    """Float32, laid out lead by lead in memory, because every step after this goes along time."""
    signal = np.empty(digital.shape[::-1], np.float32)
    baseline = np.array([signal.baseline for signal in signals], np.float64)[:, None]
    if baseline.any():
        np.subtract(digital.T, baseline, out=signal, casting="unsafe")
    else:
        signal[:] = digital.T
    signal /= np.array(per_mv, np.float32)[:, None]
    invalid = np.array([INVALID[signal.format] for signal in signals])
    if digital.min() <= invalid.max():
        signal.T[digital == invalid] = np.nan
    return signal.T
