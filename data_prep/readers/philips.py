"""Philips Sierra ECG XML (`restingecgdata`, versions 1.03 to 1.04.02): 16-bit values, compressed (XLI) or not.

XLI compresses each lead on its own: differences of second order, the high bytes before the low ones, then LZW with
codes of 10 bits. Leads III, aVR, aVL and aVF are stored as what is left of them after the prediction from I and II. The
averaged beats are not read. Described by the readers of github.com/sixlettervariables/sierra-ecg-tools (MIT).
"""

import struct
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Int64, Shaped

from data_prep.leads import LIMB_LEADS, STANDARD_LEADS, standard_lead
from data_prep.readers.channels import Channel, to_record
from data_prep.readers.faults import unsupported
from data_prep.readers.options import ReadOptions
from data_prep.readers.xml_tree import base64, has_element, named, number, numbers, read_tree, text_of
from data_prep.record import Record, RecordError

NAME = "Philips Sierra XML"
SUFFIXES: tuple[str, ...] = ()
BITS = 10
"""Size of a code of LZW."""
MAX_VALUES = 2**22
"""Largest number of values of a lead that are unpacked: more than 2 hours at 500 Hz."""
CHUNK = struct.Struct("<ixxh")
"""Header of a lead: the size of its compressed bytes, and the first difference."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is a Philips export."""
    return has_element(head, "restingecgdata")


def read(path: Path, options: ReadOptions) -> Record:
    """Return the ECG of a file, without the averaged beats.

    Raises:
        RecordError: there is no waveform, its encoding is unknown, it is damaged, or a fact is missing.
    """
    root = read_tree(path)
    wave = next(named(root, "parsedwaveforms"), None)
    if wave is None:
        raise RecordError(f"{path.name} holds no parsedwaveforms; only files with the ECG itself are read.")
    facts = _Facts(path.name, root, wave)
    leads = facts.leads
    rows = _compressed(path.name, wave, leads) if facts.is_compressed else _plain(path.name, wave, len(leads), facts)
    rows = [_whole(path.name, row, facts.n_samples) for row in rows]
    if facts.is_compressed and tuple(map(standard_lead, leads[:6])) == LIMB_LEADS:
        rows[2:6] = _limb_leads(*rows[:6])
    channels = [
        Channel(lead, row, "uV", facts.step, -facts.zero * facts.step) for lead, row in zip(leads, rows, strict=True)
    ]
    return to_record(path, channels, facts.fs, options)


class _Facts:
    """Facts about the waveform, of its own attributes, or else of the signal's characteristics."""

    def __init__(self, name: str, root: Element, wave: Element) -> None:
        self.name, self.wave = name, wave
        self.signal = next(named(root, "signalcharacteristics"), None)
        step = self._number("resolution", "signalresolution")
        if step is None:
            raise RecordError(f"{name} states no resolution, so its voltages are unknown.")
        self.step, self.zero = step, self._number("signaloffset") or 0.0
        self.fs = self._number("samplespersecond", "samplingrate")
        self.is_signed = (wave.get("signalsigned") or text_of(self.signal, "signalsigned")).lower() != "false"

    def _number(self, *names: str) -> float | None:
        texts = [self.wave.get(name, "") for name in names] + [text_of(self.signal, name) for name in names]
        return next((value for text in texts if (value := number(text)) is not None), None)

    @property
    def is_compressed(self) -> bool:
        flag = self.wave.get("compressflag", "").lower()
        method = (self.wave.get("compression") or self.wave.get("compressmethod") or "").upper()
        if flag == "false" or method in ("", "NONE", "UNCOMPRESSED"):
            return False
        if method != "XLI":
            raise unsupported(f"{self.name} is compressed by {method} instead of XLI")
        return True

    @property
    def leads(self) -> list[str]:
        """Names of the leads: as stated, or else the standard ones in their order."""
        if labels := self.wave.get("leadlabels", "").replace(",", " ").split():
            return labels
        count = self._number("numberofleads", "numberchannelsvalid", "numberchannelsallocated") or len(STANDARD_LEADS)
        kind = text_of(self.signal, "leadset") or text_of(self.signal, "acquisitiontype") or "STD-12"
        if int(count) != len(STANDARD_LEADS) or kind.upper() not in ("STD-12", "10-WIRE"):
            raise RecordError(f"{self.name} names no leads, and it is not a standard 12-lead ECG.")
        return list(STANDARD_LEADS)

    @property
    def n_samples(self) -> int | None:
        """Number of samples of a lead, or None where the file states none."""
        milliseconds = number(self.wave.get("durationperchannel", ""))
        if not milliseconds or not self.fs or not 0 < milliseconds * self.fs < 1e12:
            return None
        return round(milliseconds * self.fs / 1000)


def _whole(name: str, row: Shaped[np.ndarray, " time"], n_samples: int | None) -> Shaped[np.ndarray, " time"]:
    """Return the promised samples of a lead. A pulse of calibration may follow them."""
    if n_samples is not None and len(row) < n_samples:
        raise RecordError(f"{name} promises {n_samples} samples of each lead; found {len(row)}; it is damaged.")
    return row[:n_samples]


def _plain(name: str, wave: Element, n_leads: int, facts: _Facts) -> list[Shaped[np.ndarray, " time"]]:
    """Return the rows of a waveform that is not compressed: one lead after the other."""
    encoding = wave.get("dataencoding", "Base64").lower()
    if encoding == "plain":
        values: np.ndarray = numbers(name, text_of(wave))
    elif encoding == "base64":
        content = base64(name, text_of(wave))
        values = np.frombuffer(content[: len(content) // 2 * 2], "<i2" if facts.is_signed else "<u2")
    else:
        raise RecordError(f"{name} encodes its samples neither as Base64 nor as plain text.")
    length = facts.n_samples or len(values) // n_leads
    if len(values) < n_leads * length:
        raise RecordError(
            f"{name} promises {length} samples of {n_leads} leads; found {len(values)} values; it is damaged."
        )
    return list(values[: n_leads * length].reshape(n_leads, length))


def _compressed(name: str, wave: Element, leads: list[str]) -> list[Int64[np.ndarray, " time"]]:
    content, rows, start = base64(name, text_of(wave)), list[np.ndarray](), 0
    while start + CHUNK.size <= len(content) and len(rows) < len(leads):
        size, first = CHUNK.unpack_from(content, start)
        start += CHUNK.size
        if not 0 < size <= len(content) - start:
            raise RecordError(f"{name}: lead {len(rows) + 1} is compressed to an impossible size; it is damaged.")
        rows.append(_integrated(unpack(name, content[start : start + size]), first))
        start += size
    if len(rows) < len(leads):
        raise RecordError(f"{name} promises {len(leads)} leads; found {len(rows)}; it is damaged.")
    return rows


def unpack(name: str, packed: bytes) -> bytes:
    """Return bytes that LZW packed with codes of BITS bits. The last code of all ends them.

    Raises:
        RecordError: a code stands for nothing yet, or the bytes become more than a lead's.
    """
    table: list[bytes] = [bytes([value]) for value in range(256)]
    end, unpacked, previous = 2**BITS - 1, bytearray(), b""
    for code in _codes(packed):
        if code == end:
            break
        if code < len(table):
            entry = table[code]
        elif previous and code == len(table):
            entry = previous + previous[:1]
        else:
            raise RecordError(f"{name}: a lead is compressed wrongly; it is damaged.")
        if previous and len(table) < end:
            table.append(previous + entry[:1])
        unpacked += entry
        previous = entry
        if len(unpacked) > 2 * MAX_VALUES:
            raise RecordError(f"{name}: a lead unpacks to more than {MAX_VALUES} samples; it is damaged.")
    return bytes(unpacked)


def _codes(packed: bytes) -> list[int]:
    """Return the codes of BITS bits, the highest bit first."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    n_codes = len(bits) // BITS
    weights = 1 << np.arange(BITS - 1, -1, -1)
    codes: list[int] = (bits[: n_codes * BITS].reshape(n_codes, BITS) @ weights).tolist()
    return codes


def _integrated(unpacked: bytes, first: int) -> Int64[np.ndarray, " time"]:
    """Return the samples of which `unpacked` holds two samples and then the differences of second order, plus 64.

    The difference of an element takes effect one element later, and `first` is that before the third.
    """
    raw = np.frombuffer(unpacked + b"\0" * (len(unpacked) % 2), np.uint8).reshape(2, -1).astype(np.uint16)
    words = ((raw[0] << 8) | raw[1]).view(np.int16).astype(np.int64)
    if len(words) < 3:
        return words
    second = np.concatenate(([first], words[2:-1] - 64))
    slopes = (words[1] - words[0]) - np.cumsum(second)
    return np.concatenate((words[:2], words[1] + np.cumsum(slopes)))


def _limb_leads(*rows: Int64[np.ndarray, " time"]) -> list[Int64[np.ndarray, " time"]]:
    """Return III, aVR, aVL and aVF of I, II and the rests of those four."""
    i, ii, iii, avr, avl, avf = rows
    iii = ii - i - iii
    return [iii, -avr - (i + ii) // 2, (i - iii) // 2 - avl, (ii + iii) // 2 - avf]
