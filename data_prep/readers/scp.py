"""SCP-ECG (EN 1064, ISO 11073-91064), versions 1 to 3: the rhythm of section 6, whatever its compression.

A record is a checksum, its size, and sections, each with a header of 16 bytes; section 0 points to the others. Section
2 holds Huffman tables, 3 the leads, 4 the beats, 5 the reference beat, 6 the rhythm. Numbers are little-endian. Values
are steps of a number of nanovolts; they may be differences, and a reference beat may be subtracted from them.
"""

import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import gcd
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from data_prep.leads import LEAD_CODES
from data_prep.readers.channels import Channel, to_record
from data_prep.readers.faults import unsupported
from data_prep.readers.files import read_bytes, require_sane_size
from data_prep.readers.huffman import DEFAULT, Table, decode, read_tables
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError, Remark

NAME = "SCP-ECG"
SUFFIXES: tuple[str, ...] = (".scp",)
MAX_BYTES = 2**28
HEADER = struct.Struct("<HHIBB6s")
"""Header of a section: checksum, number, length, version of the section and of the protocol, reserved."""
POINTER = struct.Struct("<HII")
LEAD = struct.Struct("<IIB")
BEAT = struct.Struct("<HIII")
SECOND_DIFFERENCES = 2
DEFAULT_TABLE = 19999


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is an SCP-ECG record: section 0 comes first and points to itself."""
    if len(head) < 32:
        return False
    size, number, length = struct.unpack_from("<I2xHI", head, 2)
    pointed, _, index = POINTER.unpack_from(head, 22)
    return bool(number == 0 and pointed == 0 and index in (1, 7) and 26 <= length < max(size, 27))


def read(path: Path, options: ReadOptions) -> Record:
    """Return the rhythm of a record.

    Raises:
        RecordError: a section is missing or damaged, or the rhythm is compressed in a way that is not read.
    """
    file = _File(path.name, read_bytes(path, MAX_BYTES))
    rhythm = file.wave(6, [lead.n_samples for lead in file.leads])
    if rhythm.is_reduced and file.version < 30:
        raise unsupported(f"{path.name} has a lower sampling rate between the beats (bimodal compression)")
    step, rows = file.with_beats(rhythm)
    first = min(lead.start for lead in file.leads)
    length = max(lead.start + len(row) for lead, row in zip(file.leads, rows, strict=True)) - first
    require_sane_size(path.name, length, len(rows))
    names = [LEAD_CODES.get(lead.code, f"code {lead.code}") for lead in file.leads]
    channels = [
        Channel(name, _placed(row, lead.start - first, length), "uV", step / 1000)
        for name, lead, row in zip(names, file.leads, rows, strict=True)
        if lead.code in LEAD_CODES or options.column_names is not None
    ]
    if not channels:
        raise RecordError(f"{path.name}: none of its {len(rows)} leads is a standard one (I, II, ..., V6).")
    return to_record(path, channels, 1e6 / rhythm.interval, options, tuple(dict.fromkeys(file.remarks)))


def _placed(row: Int64[np.ndarray, " time"], start: int, length: int) -> np.ndarray:
    """Return a row among `length` samples, with NaN where the lead was not recorded."""
    if not start and len(row) == length:
        return row
    placed = np.full(length, np.nan)
    placed[start : start + len(row)] = row
    return placed


class _Lead(NamedTuple):
    """A lead of section 3, with the numbers of its first and last sample."""

    start: int
    end: int
    code: int

    @property
    def n_samples(self) -> int:
        return self.end - self.start + 1


class _Wave(NamedTuple):
    """Content of section 5 or 6."""

    step: int
    """Nanovolts of a step."""
    interval: int
    """Microseconds between samples."""
    is_reduced: bool
    rows: list[Int64[np.ndarray, " time"]]


@dataclass
class _File:
    """A record and the sections of it that lead to the rhythm."""

    name: str
    content: bytes
    remarks: list[Remark] = field(default_factory=list)
    version: int = 0
    """Version of the protocol, times ten."""

    def __post_init__(self) -> None:
        if not recognizes(self.content[:64]):
            raise self.damage("section 0 is not where it should be")
        self.sections = dict(self._sections())
        self.tables = self._tables()
        flags, self.leads = self._leads()
        self.is_subtracted = bool(flags & 1)

    def damage(self, reason: str) -> RecordError:
        return RecordError(f"{self.name} is not a valid SCP-ECG record: {reason}.")

    def _sections(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the content of each section that section 0 points to."""
        _, _, length, _, self.version, _ = HEADER.unpack_from(self.content, 6)
        for start in range(6 + HEADER.size, min(6 + length, len(self.content)) - POINTER.size + 1, POINTER.size):
            number, size, index = POINTER.unpack_from(self.content, start)
            begin = index - 1
            if not number or size <= HEADER.size or number > 6:
                continue
            if begin < 0 or begin + HEADER.size > len(self.content):
                raise self.damage(f"section {number} lies beyond its end")
            checksum, own, stated, _, version, _ = HEADER.unpack_from(self.content, begin)
            if own != number:
                raise self.damage(f"section {own} stands where section {number} should")
            section = self.content[begin : begin + (stated if HEADER.size < stated < size else size)]
            if len(section) < size and len(section) < stated:
                cut = f"section {number} is cut off; what is there of it is read."
                self.remarks.append(Remark("cut-off", cut))
            elif checksum and checksum != binascii.crc_hqx(section[2:], 0xFFFF):
                damaged = f"the checksum of section {number} does not match; the file may be damaged."
                self.remarks.append(Remark("checksum", damaged))
            self.version = self.version or version
            yield number, section[HEADER.size :]

    def section(self, number: int, size: int) -> bytes:
        """Return the content of a section of at least `size` bytes."""
        section = self.sections.get(number)
        if section is None:
            raise self.damage(f"section {number} is missing")
        if len(section) < size:
            raise self.damage(f"section {number} is too short")
        return section

    def _tables(self) -> list[Table]:
        """Return the Huffman tables; none if values are stored as they are."""
        if 2 not in self.sections:
            return []
        count = int.from_bytes(self.section(2, 2)[:2], "little")
        return [DEFAULT] if count == DEFAULT_TABLE else read_tables(self.name, self.section(2, 2), count)

    def _leads(self) -> tuple[int, list[_Lead]]:
        section = self.section(3, 2)
        count, flags = section[:2]
        if not count or len(section) < 2 + count * LEAD.size:
            raise self.damage(f"section 3 promises {count} leads and is too short or empty")
        leads = [_Lead(*LEAD.unpack_from(section, 2 + i * LEAD.size)) for i in range(count)]
        if any(lead.start > lead.end for lead in leads):
            raise self.damage("a lead of section 3 ends before it begins")
        require_sane_size(self.name, max(lead.end for lead in leads) - min(lead.start for lead in leads), count)
        return flags, leads

    def wave(self, number: int, counts: list[int]) -> _Wave:
        """Return what section 5 or 6 holds, with at most `counts` values of each lead."""
        n_leads = len(self.leads)
        section = self.section(number, 6 + 2 * n_leads)
        step, interval, order, is_reduced = struct.unpack_from("<HHBB", section)
        if not interval or not step or order > SECOND_DIFFERENCES:
            raise self.damage(f"section {number} states an interval or step of 0, or an unknown kind of difference")
        sizes, start, rows = struct.unpack_from(f"<{n_leads}H", section, 6), 6 + 2 * n_leads, list[np.ndarray]()
        for index, (size, count) in enumerate(zip(sizes, counts, strict=True), 1):
            values = self._values(section[start : start + size], count)
            if not len(values):
                raise self.damage(f"lead {index} of section {number} is empty")
            rows.append(_summed(values, order))
            start += size
        shortest = min(count - len(row) for row, count in zip(rows, counts, strict=True))
        longest = max(count - len(row) for row, count in zip(rows, counts, strict=True))
        if longest > 1:  # some recorders count from 0 to the number of samples
            which = "each lead" if shortest == longest else "some leads"
            absent = f"the last {longest} of {max(counts)} samples of {which} are not in the file."
            self.remarks.append(Remark("cut-off", absent))
        return _Wave(step, interval, bool(is_reduced), rows)

    def _values(self, stored: bytes, count: int) -> Int64[np.ndarray, " time"]:
        if self.tables:
            return decode(self.name, stored, count, self.tables)
        return np.frombuffer(stored[: min(2 * count, len(stored) // 2 * 2)], "<i2").astype(np.int64)

    def with_beats(self, rhythm: _Wave) -> tuple[int, list[Int64[np.ndarray, " time"]]]:
        """Return the nanovolts of a step, and the rhythm with the reference beat where it was subtracted."""
        if not self.is_subtracted:
            return rhythm.step, rhythm.rows
        section = self.section(4, 6)
        milliseconds, peak, n_beats = struct.unpack_from("<HHH", section)
        if len(section) < 6 + n_beats * BEAT.size:
            raise self.damage("section 4 is too short for its beats")
        interval = struct.unpack_from("<H", self.section(5, 4), 2)[0]
        if interval != rhythm.interval:
            raise unsupported(f"{self.name} has a reference beat at another sampling rate than the rhythm's")
        length = round(milliseconds * 1000 / interval)
        reference = self.wave(5, [length] * len(self.leads))
        step = gcd(rhythm.step, reference.step)
        beats = [BEAT.unpack_from(section, 6 + i * BEAT.size) for i in range(n_beats)]
        rows = []
        for lead, row, beat in zip(self.leads, rhythm.rows, reference.rows, strict=True):
            total = row * (rhythm.step // step)
            for kind, first, fiducial, last in beats:
                if kind == 0:
                    _add(total, lead.start, beat * (reference.step // step), first, last, fiducial - peak + 1)
            rows.append(total)
        return step, rows


def _add(
    row: Int64[np.ndarray, " time"], start: int, beat: Int64[np.ndarray, " beat"], first: int, last: int, begin: int
) -> None:
    """Add the beat, which begins at sample `begin`, from sample `first` to `last`; the row begins at `start`."""
    first, last = max(first, start, begin), min(last, start + len(row) - 1, begin + len(beat) - 1)
    if first <= last:
        row[first - start : last - start + 1] += beat[first - begin : last - begin + 1]


def _summed(values: Int64[np.ndarray, " time"], order: int) -> Int64[np.ndarray, " time"]:
    """Return the samples of which `values` are the differences of this order, in the arithmetic of 16 bits."""
    if order == 0:
        return values
    if order == SECOND_DIFFERENCES and len(values) > 1:
        slopes = np.concatenate(([values[1] - values[0]], values[2:])).cumsum()
        values = np.concatenate((values[:1], values[0] + slopes.cumsum()))
    elif order == 1:
        values = values.cumsum()
    return values.astype(np.int16).astype(np.int64)
