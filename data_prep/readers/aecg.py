"""HL7 annotated ECG (`AnnotatedECG`, HL7 v3, FDA): values as text, scale and unit a lead, time as an increment.

A series holds sets of sequences that were sampled at the same times. Of all sets but those of derived series, which
are averaged beats, the one with the most leads is read, and the longest of those.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from data_prep.leads import standard_lead
from data_prep.readers.channels import Channel, one_of_several, to_record
from data_prep.readers.options import ReadOptions
from data_prep.readers.xml_tree import attribute, has_element, number, numbers, read_tree, text_of
from data_prep.record import Record, RecordError
from data_prep.units import UNITS, parse_unit

NAME = "HL7 aECG"
SUFFIXES: tuple[str, ...] = ()
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
"""Seconds in each unit of an increment of time."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is an annotated ECG."""
    return has_element(head, "annotatedecg")


def read(path: Path, options: ReadOptions) -> Record:
    """Return the recorded ECG of a file.

    Raises:
        RecordError: there is none, values are damaged, or the unit of a lead or of time is unknown.
    """
    name = path.name
    sets = list(_sets(read_tree(path), is_derived=False))
    if not sets:
        raise RecordError(f"{name} holds no recorded waveform; averaged beats are not read.")
    best = max(sets, key=_rank)
    n_sets = sum(bool(_rank(each)[0]) for each in sets)
    channels = [_channel(name, lead, value) for lead, value in _leads(best)]
    return to_record(path, channels, _rate(name, best), options, one_of_several(n_sets, "recordings"))


def _sets(element: Element, is_derived: bool) -> Iterator[Element]:
    """Yield the sets of sequences of all series that were recorded."""
    if element.tag == "series" and attribute(element, "code", "code").upper() == "REPRESENTATIVE_BEAT":
        is_derived = True
    for child in element:
        if child.tag == "sequenceset" and not is_derived:
            yield child
        elif child.tag != "derivation":
            yield from _sets(child, is_derived)


def _sequences(sequences: Element) -> Iterator[tuple[str, Element]]:
    """Yield the code and the values of each sequence of a set."""
    for sequence in sequences.iter("sequence"):
        value = sequence.find("value")
        if value is not None:
            yield attribute(sequence, "code", "code"), value


def _leads(sequences: Element) -> Iterator[tuple[str, Element]]:
    for code, value in _sequences(sequences):
        if value.find("digits") is not None and not code.upper().startswith("TIME_"):
            prefix, mark, lead = code.upper().rpartition("_LEAD_")
            yield (lead if prefix and mark else code), value


def _rank(sequences: Element) -> tuple[int, int]:
    leads = list(_leads(sequences))
    size = max((len(text_of(value, "digits")) for _, value in leads), default=0)
    return len({lead for name, _ in leads if (lead := standard_lead(name))}), size


def _rate(name: str, sequences: Element) -> float | None:
    """Return the sampling rate in hertz, or None where the file states none."""
    for _, value in _sequences(sequences):
        step = number(attribute(value, "increment", "value"))
        if not step:
            continue
        seconds = SECONDS.get(attribute(value, "increment", "unit").lower())
        if seconds is None:
            raise RecordError(f"{name}: the unit of its time is none of {', '.join(SECONDS)}; correct the file.")
        return float(np.round(1 / (step * seconds), 6))
    return None


def _channel(name: str, lead: str, value: Element) -> Channel:
    unit = attribute(value, "scale", "unit") or attribute(value, "origin", "unit") or None
    step = number(attribute(value, "scale", "value"))
    zero = number(attribute(value, "origin", "value")) or 0.0
    values = numbers(name, text_of(value, "digits"))
    return Channel(lead, values, unit, 1.0 if step is None else step, zero * _ratio(name, value, unit))


def _ratio(name: str, value: Element, unit: str | None) -> float:
    """Return the size of the origin's unit in that of the scale."""
    origin = attribute(value, "origin", "unit")
    if not origin or origin == unit or not number(attribute(value, "origin", "value")):
        return 1.0
    own, other = parse_unit(origin), parse_unit(unit or "")
    if own is None or other is None:
        raise RecordError(f"{name}: the units of a lead's origin and scale are not both known; correct the file.")
    return UNITS[own] / UNITS[other]
