"""Mortara ELI XML (`ECG` with `CHANNEL` elements): 16-bit values in Base64, with their number in a millivolt."""

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from data_prep.leads import describe_lead
from data_prep.readers.channels import Channel, to_record
from data_prep.readers.faults import unsupported
from data_prep.readers.options import ReadOptions
from data_prep.readers.xml_tree import base64, named, number, read_tree, root_of
from data_prep.record import Record, RecordError

NAME = "Mortara ELI XML"
SUFFIXES: tuple[str, ...] = ()
MARKS = (b"ACQUISITION_TIME", b"UNITS_PER_MV", b"<TYPICAL_CYCLE", b"<CHANNEL", b"<SUBJECT", b"MORTARA", b"ELI LINK")
"""Words of which a file has some at its beginning. A root named ECG alone says little."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is of an ELI."""
    upper = head.replace(b"\0", b"").upper()
    return root_of(head) == "ecg" and any(mark in upper for mark in MARKS)


def read(path: Path, options: ReadOptions) -> Record:
    """Return the channels of a file. The typical cycle, an averaged beat, is not read.

    Raises:
        RecordError: a channel is encoded otherwise, damaged, or lacks its scale, or rates differ.
    """
    elements = list(named(read_tree(path), "channel"))
    channels = [_channel(path.name, index, element) for index, element in enumerate(elements, 1)]
    rates = {number(element.get("sample_freq", "")) for element in elements}
    if len(rates) > 1:
        raise RecordError(f"{path.name}: its channels should have one sampling rate; found {len(rates)}.")
    return to_record(path, channels, next(iter(rates), None), options)


def _channel(name: str, index: int, element: Element) -> Channel:
    lead = element.get("name", "").strip()
    where = describe_lead(lead, index, "channel")
    form = [element.get(key, usual).upper() or usual for key, usual in FORM.items()]
    if form != list(FORM.values()):
        raise unsupported(f"{name} does not store {where} as signed values of 16 bits in Base64")
    content = base64(name, element.get("data") or element.text or "")
    if len(content) % 2:
        raise RecordError(f"{name}: {where} ends within a value; it is damaged.")
    values = np.frombuffer(content, "<i2")
    promised, fs = number(element.get("duration", "")), number(element.get("sample_freq", ""))
    lengths = len(values), len(values) * 1000 / fs if fs else None  # in samples, or in milliseconds
    if promised and promised not in lengths:
        raise RecordError(f"{name}: {where} promises {promised:g} samples; found {len(values)}; it is damaged.")
    per_millivolt = number(element.get("units_per_mv", ""))
    if per_millivolt is None or per_millivolt <= 0:
        raise RecordError(f"{name} states no number of units in a millivolt for {where}, so its voltages are unknown.")
    zero = number(element.get("offset", "")) or 0.0
    return Channel(lead, values, "mV", 1 / per_millivolt, zero / per_millivolt)


FORM = {"bits": "16", "format": "SIGNED", "encoding": "BASE64"}
"""Storage of a channel's values where a file states no other."""
