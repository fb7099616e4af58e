"""Strict parser of WFDB headers: what does not parse to the last character is an error, never a default.

The format: https://wfdb.io/spec/header-files.html
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from data_prep.leads import describe_lead
from data_prep.readers.wfdb.formats import FORMATS
from data_prep.record import RecordError
from data_prep.units import parse_unit

NO_FILE = "~"
"""Name that stands for a file or segment without samples."""
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_RECORD = (
    r"(?P<name>{name})(?:/(?P<segments>\d{{1,9}}))?\s+(?P<n_signals>\d{{1,9}})"
    r"(?:\s+(?P<fs>[^\s/(]+)(?:/[-+.\d]+(?:\([-+.\d]+\))?)?"
    r"(?:\s+(?P<n_samples>\d{{1,18}})(?:\s+\d[\w:./-]*){{0,2}})?)?"
)
_SIGNAL = (
    r"(?P<file>{file})\s+(?P<format>\d{{1,9}})(?:x(?P<per_frame>\d{{1,9}}))?(?::(?P<skew>\d+))?"
    r"(?:\+(?P<offset>\d{{1,18}}))?"
    r"(?:\s+(?P<gain>[^\s(/]+)(?:\((?P<baseline>-?\d{{1,18}})\))?(?:/(?P<unit>\S+))?"
    r"(?:\s+\d+(?:\s+(?P<zero>-?\d{{1,18}})(?:\s+(?P<initial>-?\d{{1,18}})(?:\s+(?P<checksum>-?\d{{1,18}})"
    r"(?:\s+\d+(?:\s+(?P<lead>\S.*))?)?)?)?)?)?)?"
)
_FORMAT = re.compile(r"\d[\dx:+]*", re.ASCII)
_SEGMENT = re.compile(r"(?P<name>\S.*?)\s+(?P<n_samples>\d{1,18})", re.ASCII)
_SPACES = "a name with spaces is read only where it is the header's own file name, so write it without spaces"


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


class Segment(NamedTuple):
    """One line of a record that joins others."""

    name: str
    """Name of the record that is joined, or NO_FILE where nothing was recorded."""
    n_samples: int
    """Length in frames; 0 for the layout, which lists the signals of all segments."""


@dataclass(frozen=True)
class Header:
    """Content of a header: its signals, or the segments that it joins."""

    fs: float
    n_samples: int | None
    """Length in frames, at `fs` frames per second."""
    signals: tuple[Signal, ...] = ()
    segments: tuple[Segment, ...] = ()

    @property
    def is_layout(self) -> bool:
        """Whether the header only describes the signals of a joined record."""
        return any(signal.file == NO_FILE for signal in self.signals)


def parse_header(source: str, content: bytes) -> Header:
    """Parse the header in `content`. `source` is the file's name, for error messages and as the record's name."""
    lines = [line for raw in _decode(content).splitlines() if (line := raw.strip()) and not line.startswith("#")]
    if not lines:
        raise RecordError(f"{source} is empty: a WFDB header names the record, its sampling rate and its leads.")
    stem = Path(source).stem
    record_line, signal_line = _patterns(stem if any(map(str.isspace, stem)) else "")
    record = record_line.fullmatch(lines[0])
    if record is None:
        hint = f"; {_SPACES}" if len(lines[0].split()) > 4 else ""
        raise RecordError(
            f"{source}: its first line is not that of a WFDB header, such as 'name 12 500 5000': the record's name, "
            f"the number of signals, hertz, samples{hint}."
        )
    fs, n_samples = _parse_fs(source, record["fs"]), int(record["n_samples"] or 0) or None
    if record["segments"] is not None:
        return Header(fs, n_samples, segments=_parse_segments(source, lines[1:], int(record["segments"]), n_samples))
    n_signals, n_lines = int(record["n_signals"]), len(lines) - 1
    if n_signals != n_lines or not n_lines:
        raise RecordError(f"{source} promises {n_signals} leads, but describes {n_lines}.")
    signals = tuple([_parse_signal(source, signal_line, line, number) for number, line in enumerate(lines[1:], 1)])
    if len({signal.file == NO_FILE for signal in signals}) > 1:
        raise RecordError(f"{source}: some of its leads have no file of samples; give a record that has all.")
    return Header(fs, n_samples, signals)


@lru_cache(maxsize=8)
def _patterns(spaced: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of a header's first line and of a signal's. `spaced` is its own name if that has spaces."""
    name, file = r"[^\s/]+", r"\S+"
    if spaced:
        name, file = rf"{re.escape(spaced)}|{name}", rf"{re.escape(spaced)}\S*|{file}"
    return re.compile(_RECORD.format(name=name), re.ASCII), re.compile(_SIGNAL.format(file=file), re.ASCII)


def _parse_segments(source: str, lines: list[str], n_segments: int, n_samples: int | None) -> tuple[Segment, ...]:
    if n_segments != len(lines) or not lines:
        raise RecordError(f"{source} promises {n_segments} segments, but lists {len(lines)}.")
    segments = []
    for number, line in enumerate(lines, 1):
        match = _SEGMENT.fullmatch(line)
        if match is None or _leads_out(match["name"]):
            raise RecordError(
                f"{source}: line {number} of its segments does not name one; each line is the name of a record in the "
                "same folder and its number of samples."
            )
        segments.append(Segment(match["name"], int(match["n_samples"])))
    total = sum(segment.n_samples for segment in segments)
    if not total or n_samples not in (None, total):
        raise RecordError(f"{source} promises {n_samples or 0} samples, but its segments hold {total}.")
    return tuple(segments)


def _leads_out(name: str) -> bool:
    return "/" in name or "\\" in name or name in (".", "..", "-")


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _parse_fs(source: str, text: str | None) -> float:
    if text is None:
        raise RecordError(f"{source} states no sampling rate; it is the third word of the first line, in hertz.")
    if not _NUMBER.fullmatch(text):
        raise RecordError(f"{source} states a sampling rate that is not a number of hertz above 0; write it as 500.")
    if not 0 < float(text) < float("inf"):
        raise RecordError(f"{source} states a sampling rate of {float(text):g}; it must be a number of hertz above 0.")
    return float(text)


def _parse_signal(source: str, pattern: re.Pattern[str], line: str, number: int) -> Signal:
    match = pattern.fullmatch(line)
    if match is None:
        hint = "" if _FORMAT.fullmatch("".join(line.split()[1:2])) else f"; {_SPACES}"
        raise RecordError(
            f"{source}: line {number} of its signals is not that of a WFDB header, such as "
            f"'file.dat 16 1000/mV 16 0 0 0 0 V1'{hint}."
        )
    file, kind, per_frame, skew, offset, gain, baseline, unit, zero, initial, checksum, lead = match.groups()
    lead = lead or f"signal {number}"
    label = describe_lead(lead, number, "signal")
    if _leads_out(file):
        raise RecordError(f"{source}: the samples of {label} must lie in a file beside the header, not elsewhere.")
    if int(kind) not in FORMATS and file != NO_FILE:
        known = ", ".join(map(str, FORMATS))
        raise RecordError(f"{source}: {label} is stored in format {kind}; the supported formats are {known}.")
    if skew and int(skew):
        raise RecordError(f"{source}: {label} is skewed by {skew} samples, which is not supported; align it first.")
    if gain is not None and not _NUMBER.fullmatch(gain):
        raise RecordError(f"{source}: the gain of {label} is not a number; write it as 1000/mV.")
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
