"""GE CardioSoft and CASE XML (`CardiologyXML`), and GE Sapphire XML (`sapphire`): values as text, steps in microvolts.

The longest strip with the most leads is read. Median beats are not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from data_prep.leads import standard_lead
from data_prep.readers.channels import Channel, one_of_several, to_record
from data_prep.readers.options import ReadOptions
from data_prep.readers.xml_tree import attribute, base64, has_element, named, number, numbers, read_tree, text_of
from data_prep.record import Record, RecordError
from data_prep.units import parse_rate

NAME = "GE CardioSoft XML"
SUFFIXES: tuple[str, ...] = ()
AVERAGED = frozenset({"mediansamples", "mediantemplate", "medianbeat", "mediandata"})
"""Elements that hold averaged beats."""
_UNIT = re.compile(r"(?P<unit>[num\u00b5\u03bc]?V)\s*(?:per|/)\s*(?:lsb|bit)", re.IGNORECASE)
"""Unit of a step, as in `uVperLsb`."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is of CardioSoft, CASE or Sapphire."""
    return has_element(head, "cardiologyxml", "sapphire")


@dataclass
class _Strip:
    """Channels that were recorded together, and their sampling rate."""

    channels: list[Channel]
    fs: float | None

    @property
    def rank(self) -> tuple[int, int]:
        leads = {lead for channel in self.channels if (lead := standard_lead(channel.lead))}
        return len(leads), max((len(channel.values) for channel in self.channels), default=0)


def read(path: Path, options: ReadOptions) -> Record:
    """Return the ECG of a file.

    Raises:
        RecordError: it holds none but averaged beats, values are damaged, or the step or its unit is unknown.
    """
    root = read_tree(path)
    strips = [_cardiosoft(path.name, element) for element in _recorded(root, "stripdata", "strip", "fulldisclosure")]
    strips += [_sapphire(path.name, element) for element in _recorded(root, "ecgwaveformmxg")]
    strips = [strip for strip in strips if strip.channels]
    if not strips:
        raise RecordError(f"{path.name} holds no recorded strip; averaged beats are not read.")
    best = max(strips, key=lambda strip: strip.rank)
    return to_record(path, best.channels, best.fs, options, one_of_several(len(strips), "strips"))


def _recorded(element: Element, *names: str) -> Iterator[Element]:
    """Yield the outermost elements of these names that do not lie in those of averaged beats."""
    for child in element:
        if child.tag in names and next(named(child, "waveformdata", "leaddata", "ecgwaveform"), None) is not None:
            yield child
        elif child.tag not in AVERAGED:
            yield from _recorded(child, *names)


def _cardiosoft(name: str, strip: Element) -> _Strip:
    step = number(text_of(strip, ".//resolution"))
    unit = _UNIT.search(attribute(strip, ".//resolution", "units"))
    channels = []
    for wave in named(strip, "waveformdata", "leaddata"):
        if step is None:
            raise RecordError(f"{name} states no resolution, so its voltages are unknown.")
        channels.append(Channel(wave.get("lead", ""), _values(name, text_of(wave)), unit and unit["unit"], step))
    return _Strip(channels, number(text_of(strip, ".//samplerate")))


def _values(name: str, text: str) -> np.ndarray:
    """Return the values of a lead, which are a list of numbers or 16-bit values in Base64."""
    if re.match(r"[+-]?\d+\s*[,;\s]", text):
        return numbers(name, text)
    content = base64(name, text)
    return np.frombuffer(content[: len(content) // 2 * 2], "<i2")


def _sapphire(name: str, strip: Element) -> _Strip:
    channels = []
    for wave in named(strip, "ecgwaveform"):
        step = number(wave.get("s") or strip.get("s") or "")
        if step is None:
            raise RecordError(f"{name} states no step of a lead, so its voltages are unknown.")
        unit = wave.get("u") or strip.get("u") or None
        lead = wave.get("lead") or wave.get("label") or ""
        channels.append(Channel(lead, numbers(name, wave.get("v", "")), unit, step))
    rate = f"{attribute(strip, './/samplerate', 'v')} {attribute(strip, './/samplerate', 'u') or 'Hz'}"
    return _Strip(channels, parse_rate(rate))
