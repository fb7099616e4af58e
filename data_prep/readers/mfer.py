"""MFER (ISO 22077-1, www.mfer.org): definitions of a tag, a length and a value, and frames of samples among them.

A frame holds sequences, each with a block of samples of every channel. Definitions hold from their place on, for all
channels or (in an attribute) for one. The first frames with one layout are joined; dominant beats are not read.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from data_prep.leads import LEAD_CODES
from data_prep.readers.channels import Channel, one_of_several, to_record
from data_prep.readers.files import read_bytes, require_sane_size
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError

NAME = "MFER"
SUFFIXES: tuple[str, ...] = (".mwf", ".mfer")
MAX_BYTES = 2**28
LITTLE, BLOCK, CHANNELS, SEQUENCES, KIND, LEAD, TYPE = 0x01, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0A
INTERVAL, STEP, ZERO, PACKED, MISSING, FRAME, OF_CHANNEL = 0x0B, 0x0C, 0x0D, 0x0E, 0x12, 0x1E, 0x3F
PREAMBLE, GROUP, END = 0x40, 0x67, 0x80
TAGS = frozenset({*range(0x19), FRAME, OF_CHANNEL, *range(0x40, 0x47), GROUP, *range(0x80, 0x89)})
"""Tags of definitions (table 5-64 of part 1)."""
TYPES = {0: "i2", 1: "u2", 2: "i4", 3: "u1", 4: "u2", 5: "i1", 6: "u4", 7: "f4", 8: "f8"}
DOMINANT_BEAT = 9
MAX_CHANNELS = 4096
Definitions = dict[int, tuple[bytes, bool]]
"""The value of each tag, and whether its bytes are little-endian."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this has MFER's preamble, or several of its definitions in a row."""
    if head[:1] == bytes([PREAMBLE]) and head[2:6] == b"MFR ":
        return True
    tags, at = list[int](), 0
    while at < len(head) and len(tags) < 12:
        if head[at] == 0:
            at += 1
            continue
        if head[at] not in TAGS or at + 1 >= len(head):
            return False
        size, at, tag = *_length(head, at + (2 if head[at] == OF_CHANNEL else 1)), head[at]
        if size is None or not _is_plausible(tag, head[at : at + size], size):
            return False
        tags.append(tag)
        if tag in (FRAME, END):
            break
        at += size
    return len(tags) >= 3 and len({LITTLE, BLOCK, CHANNELS, SEQUENCES, TYPE, INTERVAL, STEP} & {*tags}) >= 3


def _is_plausible(tag: int, value: bytes, size: int) -> bool:
    if tag in (LITTLE, TYPE):
        return size == 1 and value[:1] <= b"\x09"
    if tag in (BLOCK, CHANNELS, SEQUENCES):
        return 1 <= size <= 4
    return 3 <= size <= 6 if tag in (INTERVAL, STEP) else True


def _length(content: bytes, at: int) -> tuple[int | None, int]:
    """Return the length that is stored at `at`, None where it is open or cut off, and where the value begins."""
    first = content[at] if at < len(content) else 0x80
    if first < 0x80:
        return first, at + 1
    n_bytes = first & 0x7F
    size = int.from_bytes(content[at + 1 : at + 1 + n_bytes], "big")
    return (size if 1 <= n_bytes <= 8 else None), at + 1 + n_bytes


def read(path: Path, options: ReadOptions) -> Record:
    """Return the ECG of a file.

    Raises:
        RecordError: a definition is damaged, samples are packed, or no frame holds leads.
    """
    file = _File(path.name)
    file.walk(read_bytes(path, MAX_BYTES), None)
    if not file.frames:
        raise RecordError(f"{path.name} holds no samples but of dominant beats, or none at all.")
    first = file.frames[0]
    same = [frame for frame in file.frames if frame.layout == first.layout]
    channels = [
        Channel(lead, np.concatenate([frame.values[index] for frame in same]), unit, step, zero)
        for index, (lead, unit, step, zero, _) in enumerate(first.layout)
    ]
    rates = {layout[4] for layout in first.layout if layout[0] in LEAD_CODES.values()} or {first.layout[0][4]}
    if len(rates) > 1:
        raise RecordError(f"{path.name}: its leads should have one sampling rate; found {len(rates)}.")
    several = len(file.frames) if len(same) < len(file.frames) else 1
    remarks = one_of_several(several, "recordings", "the first")
    return to_record(path, channels, rates.pop(), options, remarks)


@dataclass
class _Frame:
    """Samples of all channels, and for each its lead, unit, step, zero and sampling rate."""

    layout: list[tuple[str, str | None, float, float, float]]
    values: list[Float64[np.ndarray, " time"]]


@dataclass
class _File:
    """Definitions that were read so far, for all channels and for single ones, and the frames."""

    name: str
    common: Definitions = field(default_factory=dict)
    single: dict[int, Definitions] = field(default_factory=dict)
    little: bool = False
    frames: list[_Frame] = field(default_factory=list)

    def damage(self, reason: str) -> RecordError:
        return RecordError(f"{self.name} is not a valid MFER file: {reason}.")

    def walk(self, content: bytes, channel: int | None, depth: int = 0) -> None:
        """Follow definitions, those of one channel if it is given."""
        if depth > 8:
            raise self.damage("its definitions are nested too deeply")
        for tag, index, value in self._definitions(content):
            if tag == OF_CHANNEL:
                self.walk(value, index, depth + 1)
            elif tag == GROUP:
                self.walk(value, channel, depth + 1)
            elif tag == FRAME:
                self._add(value)
            elif tag == LITTLE:
                self.little = value[:1] == b"\x01"
            else:
                kept = self.common if channel is None else self.single.setdefault(channel, {})
                kept[tag] = value, self.little
                if tag == CHANNELS:
                    self.single.clear()

    def _definitions(self, content: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yield the tag of each definition, the channel if it is for one, and the value."""
        at = 0
        while at < len(content):
            tag, channel, at = content[at], 0, at + 1
            if tag == END:
                return
            if tag == 0:
                continue
            if tag == OF_CHANNEL:
                channel, at = self._channel(content, at)
            size, at = _length(content, at)
            if size is None:  # it ends with two zeros, or with the file
                end = content.find(b"\0\0", at)
                size = (end if end >= 0 else len(content)) - at
            if size > len(content) - at and tag != FRAME:
                raise self.damage("a definition reaches beyond its end")
            yield tag, channel, content[at : at + size]
            at += size

    def _channel(self, content: bytes, at: int) -> tuple[int, int]:
        """Return the number of a channel, 7 bits in each byte, and the place after it."""
        channel = 0
        for end, byte in enumerate(content[at : at + 4], at + 1):
            channel = channel << 7 | byte & 0x7F
            if byte < 0x80:
                return channel, end
        raise self.damage("the number of a channel is cut off")

    def _value(self, channel: int, tag: int) -> tuple[bytes, bool]:
        value = self.single.get(channel, {}).get(tag, self.common.get(tag, (b"", self.little)))
        return value if value[0] else (b"", self.little)

    def _integer(self, channel: int, tag: int, default: int) -> int:
        value, little = self._value(channel, tag)
        return int.from_bytes(value, "little" if little else "big") if value else default

    def _scaled(self, channel: int, tag: int) -> tuple[int, float] | None:
        """Return the code of the unit, and the number that an exponent of ten and an integer make."""
        value, little = self._value(channel, tag)
        if not value:
            return None
        if not 3 <= len(value) <= 6:
            raise self.damage("a step or interval has a wrong size")
        exponent = int.from_bytes(value[1:2], "big", signed=True)
        mantissa = int.from_bytes(value[2:], "little" if little else "big", signed=True)
        return value[0], mantissa * 10.0**exponent

    def _add(self, content: bytes) -> None:
        """Add the frame that holds these samples."""
        n_channels = self._integer(-1, CHANNELS, 1)
        if not 1 <= n_channels <= MAX_CHANNELS:
            raise self.damage(f"it has {n_channels} channels")
        if self._integer(-1, KIND, 0) & 0xFFFF == DOMINANT_BEAT:
            return
        if any(self._value(-1, PACKED)[0][:2].strip(b"\0")):
            raise RecordError(f"{self.name} compresses its samples, which is not supported.")
        types = [self._type(channel) for channel in range(n_channels)]
        blocks = [self._integer(channel, BLOCK, 1) for channel in range(n_channels)]
        size = sum(block * each.itemsize for block, each in zip(blocks, types, strict=True))
        if not all(blocks) or size > len(content):
            raise self.damage(f"a sequence should have {size} bytes; found {len(content)}")
        n_sequences = min(len(content) // size, self._integer(-1, SEQUENCES, 2**32))
        require_sane_size(self.name, n_sequences * max(blocks), n_channels)
        form = np.dtype([(str(i), each, (block,)) for i, (each, block) in enumerate(zip(types, blocks, strict=True))])
        rows = np.frombuffer(content, form, n_sequences)
        layout = [self._layout(channel) for channel in range(n_channels)]
        values = [self._values(channel, rows[str(channel)].reshape(-1)) for channel in range(n_channels)]
        self.frames.append(_Frame(layout, values))

    def _type(self, channel: int) -> np.dtype:
        code = self._integer(channel, TYPE, 0)
        if code not in TYPES:
            raise RecordError(f"{self.name} has values of type {code}, which is not supported.")
        return np.dtype(TYPES[code]).newbyteorder("<" if self.little else ">")

    def _values(self, channel: int, stored: np.ndarray) -> Float64[np.ndarray, " time"]:
        values = stored.astype(np.float64)
        missing, little = self._value(channel, MISSING)
        if len(missing) == stored.dtype.itemsize:
            values[stored == np.frombuffer(missing, stored.dtype.newbyteorder("<" if little else ">"))[0]] = np.nan
        elif stored.dtype.kind == "i":
            values[stored == np.iinfo(stored.dtype).min] = np.nan
        return values

    def _layout(self, channel: int) -> tuple[str, str | None, float, float, float]:
        step = self._scaled(channel, STEP)
        unit = "uV" if step is not None and step[0] == 0 else None if step is None else "not of voltage"
        size = 1.0 if step is None else step[1] * 1e6
        value, little = self._value(channel, ZERO)
        kind = self._type(channel).newbyteorder("<" if little else ">")
        zero = float(np.frombuffer(value[: kind.itemsize], kind)[0]) if len(value) >= kind.itemsize else 0.0
        value, little = self._value(channel, LEAD)
        code = int.from_bytes(value[:2], "little" if little else "big")
        return LEAD_CODES.get(code, f"code {code}"), unit, size, zero * size, self._rate(channel)

    def _rate(self, channel: int) -> float:
        """Return the sampling rate in hertz, 1000 where a file states none."""
        interval = self._scaled(channel, INTERVAL)
        if interval is None:
            return 1000.0
        unit, number = interval
        if unit not in (0, 1) or not number > 0:
            raise self.damage("its sampling interval is not a time above 0")
        rate = number if unit == 0 else 1 / number
        return float(np.round(rate, 6)) if math.isfinite(rate) else 0.0
