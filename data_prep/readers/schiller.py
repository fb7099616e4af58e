"""Schiller XML (`SchillerEDI`): values as text, with the voltage of a bit. Averaged beats are not read."""

from pathlib import Path
from xml.etree.ElementTree import Element

from data_prep.leads import standard_lead
from data_prep.readers.channels import Channel, one_of_several, to_record
from data_prep.readers.faults import unsupported
from data_prep.readers.options import ReadOptions
from data_prep.readers.xml_tree import named, number, numbers, read_tree, root_of, text_of
from data_prep.record import Record, RecordError

NAME = "Schiller XML"
SUFFIXES: tuple[str, ...] = ()
RHYTHMS = frozenset({"ecg_rhythms", "ecg_rhythm"})
MARKS = b"<wavedata", b"ecg_rhythm"


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is an export of Schiller, by its root or by the elements of waves."""
    root = root_of(head)
    lower = head.replace(b"\0", b"").lower()
    return root.endswith("schilleredi") or (bool(root) and all(mark in lower for mark in MARKS))


def read(path: Path, options: ReadOptions) -> Record:
    """Return the rhythm of a file: of several the one with the most leads.

    Raises:
        RecordError: there is no rhythm, values are not numbers, or the voltage of a bit or its unit is unknown.
    """
    waves = [wave for wave in named(read_tree(path), "wavedata") if text_of(wave, "type").lower() in RHYTHMS]
    if not waves:
        raise RecordError(f"{path.name} holds no rhythm recording; averaged beats are not read.")
    best = max(waves, key=_n_leads)
    step = number(text_of(best, ".//yres/unitperbit"))
    if step is None:
        raise RecordError(f"{path.name} does not state the voltage of one bit, so its voltages are unknown.")
    unit = text_of(best, ".//yres/units") or None
    channels = [
        Channel(text_of(channel, "name"), numbers(path.name, text_of(channel, "data")), unit, step)
        for channel in best.iter("channel")
    ]
    remarks = one_of_several(len(waves), "rhythms", "the one with the most leads")
    return to_record(path, channels, _rate(path.name, best), options, remarks)


def _n_leads(wave: Element) -> int:
    return len({standard_lead(text_of(channel, "name")) for channel in wave.iter("channel")} - {None})


def _rate(name: str, wave: Element) -> float | None:
    if text_of(wave, ".//samplerate/exponent") not in ("", "0", "1"):
        raise unsupported(f"{name} states its sampling rate with an exponent other than 1")
    return number(text_of(wave, ".//samplerate/value"))
