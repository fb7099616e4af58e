"""A WFDB header's text, read strictly: what does not parse to the last character is an error, never a default.

The format: https://wfdb.io/spec/header-files.html
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from data_prep.record import RecordError
from data_prep.units import parse_unit

BITS = {16: 16, 24: 24, 32: 32, 61: 16, 80: 8, 160: 16, 212: 12, 310: 32 / 3, 311: 32 / 3}
"""Bits of one sample in each storage format."""
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_RECORD = re.compile(
    r"(?P<name>[^\s/]+)(?:/(?P<segments>\d+))?\s+(?P<n_signals>\d{1,9})"
    r"(?:\s+(?P<fs>[^\s/(]+)(?:/[-+.\d]+(?:\([-+.\d]+\))?)?"
    r"(?:\s+(?P<n_samples>\d{1,18})(?:\s+\d[\w:./-]*){0,2})?)?",
    re.ASCII,
)
_SIGNAL = re.compile(
    r"(?P<file>\S+)\s+(?P<format>\d{1,9})(?:x(?P<per_frame>\d{1,9}))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d{1,18}))?"
    r"(?:\s+(?P<gain>[^\s(/]+)(?:\((?P<baseline>-?\d{1,18})\))?(?:/(?P<unit>\S+))?"
    r"(?:\s+\d+(?:\s+(?P<zero>-?\d{1,18})(?:\s+(?P<initial>-?\d{1,18})(?:\s+(?P<checksum>-?\d{1,18})"
    r"(?:\s+\d+(?:\s+(?P<lead>\S.*))?)?)?)?)?)?)?",
    re.ASCII,
)


class Signal(NamedTuple):
    """One signal line."""

    lead: str
    file: str
    format: int
    per_frame: int
    offset: int
    """Bytes before the first sample."""
    gain: float | None
    """Digital units in one physical unit."""
    baseline: int
    """Digital value of 0 V."""
    unit: str
    initial: int | None
    checksum: int | None


@dataclass(frozen=True)
class Header:
    """What the header says."""

    fs: float
    n_samples: int | None
    """In frames, as many a second as `fs`."""
    signals: tuple[Signal, ...]


def parse_header(source: str, content: bytes) -> Header:
    """The header in `content`; `source` is the file's name for the error messages."""
    lines = [line for raw in _decode(content).splitlines() if (line := raw.strip()) and not line.startswith("#")]
    if not lines:
        raise RecordError(f"{source} is empty: a WFDB header names the record, its sampling rate and its leads.")
    record = _RECORD.fullmatch(lines[0])
    if record is None:
        raise RecordError(f"{source}: {_quote(lines[0])} is no first line of a WFDB header.")
    if record["segments"] is not None:
        raise RecordError(f"{source} joins {record['segments']} segments; give the segments themselves, one by one.")
    n_signals, n_lines = int(record["n_signals"]), len(lines) - 1
    if n_signals != n_lines or not n_lines:
        raise RecordError(f"{source} promises {n_signals} leads, but describes {n_lines}.")
    signals = tuple([_parse_signal(source, line, number) for number, line in enumerate(lines[1:], 1)])
    return Header(_parse_fs(source, record["fs"]), int(record["n_samples"] or 0) or None, signals)


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _parse_fs(source: str, text: str | None) -> float:
    if text is None:
        raise RecordError(f"{source} states no sampling rate; it is the third word of the first line, in hertz.")
    if not _NUMBER.fullmatch(text) or not 0 < float(text) < float("inf"):
        raise RecordError(f"{source} states a sampling rate of {_quote(text)}; it must be a number of hertz above 0.")
    return float(text)


def _parse_signal(source: str, line: str, number: int) -> Signal:
    match = _SIGNAL.fullmatch(line)
    if match is None:
        raise RecordError(f"{source}: {_quote(line)} does not describe a WFDB signal.")
    file, kind, per_frame, skew, offset, gain, baseline, unit, zero, initial, checksum, lead = match.groups()
    lead = lead or f"signal {number}"
    if "/" in file or "\\" in file or file in (".", "..", "-", "~"):
        raise RecordError(f"{source}: the samples must lie in a file beside the header, not in {_quote(file)}.")
    if int(kind) not in BITS:
        known = ", ".join(map(str, BITS))
        raise RecordError(f"{source}: lead {lead} is stored in format {kind}; the known ones are {known}.")
    if skew and int(skew):
        raise RecordError(f"{source}: lead {lead} is skewed by {skew} samples, which is not supported; align it first.")
    if gain is not None and not _NUMBER.fullmatch(gain):
        raise RecordError(f"{source}: the gain of lead {lead} is {_quote(gain)}, which is no number.")
    return Signal(
        lead,
        file,
        int(kind),
        int(per_frame) if per_frame else 1,
        int(offset) if offset else 0,
        None if gain is None else float(gain),
        int(baseline or zero or 0),
        parse_unit(unit or "mV") or unit,  # mV where none is stated is the format's own rule
        None if initial is None else int(initial),
        None if checksum is None else int(checksum),
    )


def _quote(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
