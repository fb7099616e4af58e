"""GE MUSE XML (`RestingECG`): 16-bit values in Base64, little-endian. The rhythm is read, the median beat is not.

Most files store leads I, II and V1 to V6; the other four limb leads follow from I and II.
"""

import zlib
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from data_prep.leads import describe_lead, standard_lead
from data_prep.readers.channels import Channel, one_of_several, to_record
from data_prep.readers.options import ReadOptions
from data_prep.readers.xml_tree import base64, has_element, named, number, read_tree, text_of
from data_prep.record import Record, RecordError, Remark

NAME = "GE MUSE XML"
SUFFIXES: tuple[str, ...] = ()
KINDS = {1: "i1", 2: "<i2", 4: "<i4"}
"""Type of a value, by its size in bytes."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is a MUSE export."""
    return has_element(head, "restingecg")


def read(path: Path, options: ReadOptions) -> Record:
    """Return the rhythm of a file: of several the one with the most leads, then the longest.

    Raises:
        RecordError: there is no rhythm, a lead's samples are damaged or fewer than promised, or its unit is unknown.
    """
    waveforms = [w for w in named(read_tree(path), "waveform") if text_of(w, "waveformtype").lower() != "median"]
    if not waveforms:
        raise RecordError(f"{path.name} holds no rhythm recording; a median beat is not read.")
    best = max(waveforms, key=_rank)
    remarks = list(one_of_several(len(waveforms), "rhythms", "the one with the most leads"))
    leads = enumerate(best.iter("leaddata"), 1)
    channels = [_channel(path.name, index, lead, remarks) for index, lead in leads]
    return to_record(path, channels, _rate(best), options, tuple(remarks))


def _rank(waveform: Element) -> tuple[bool, int, int]:
    leads = {standard_lead(text_of(lead, "leadid")) for lead in waveform.iter("leaddata")} - {None}
    size = max((len(text_of(lead, "waveformdata")) for lead in waveform.iter("leaddata")), default=0)
    return text_of(waveform, "waveformtype").lower() in ("rhythm", ""), len(leads), size


def _rate(waveform: Element) -> float | None:
    base = number(text_of(waveform, "samplebase"))
    exponent = number(text_of(waveform, "sampleexponent")) or 0
    return None if base is None or abs(exponent) > 9 else base * 10**exponent


def _channel(name: str, index: int, lead: Element, remarks: list[Remark]) -> Channel:
    label = text_of(lead, "leadid")
    where = describe_lead(label, index, "channel")
    content = base64(name, text_of(lead, "waveformdata"))
    size = int(number(text_of(lead, "leadsamplesize")) or 2)
    if size not in KINDS or len(content) % size:
        raise RecordError(f"{name}: {where} has {len(content)} bytes for values of {size} bytes; it is damaged.")
    values = np.frombuffer(content, KINDS[size])
    promised = int(number(text_of(lead, "leadsamplecounttotal")) or len(values))
    if promised != len(values):
        raise RecordError(f"{name}: {where} promises {promised} samples; found {len(values)}; it is damaged.")
    checksum = text_of(lead, "leaddatacrc32")
    if checksum.isascii() and checksum.isdecimal() and int(checksum) not in (0, zlib.crc32(content)):
        sentence = f"{where}: the checksum does not match the samples; the file may be damaged."
        remarks.append(Remark("checksum", sentence))
    step = number(text_of(lead, "leadamplitudeunitsperbit"))
    if step is None:
        raise RecordError(f"{name} does not state the voltage of one step of {where}, so its voltages are unknown.")
    return Channel(label, values, text_of(lead, "leadamplitudeunits") or None, step)
