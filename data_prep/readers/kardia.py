"""AliveCor Kardia JSON: one lead or six, in steps of nanovolts (developers.kardia.com). The raw signal is read."""

import re
from pathlib import Path

from data_prep.readers.channels import Channel, to_record
from data_prep.readers.json_tree import begins_object, entry, is_number, numbers, read_json
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError

NAME = "Kardia JSON"
SUFFIXES: tuple[str, ...] = ()
LEADS = {"leadI": "I", "leadII": "II", "leadIII": "III", "AVR": "aVR", "AVL": "aVL", "AVF": "aVF"}
_KEYS = re.compile(rb'"(recordedAt|algorithmDetermination|patientID|amplitudeResolution|data12L|leadI)"\s*:')


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is a recording of Kardia: an object with several of its keys."""
    return begins_object(head) and len(set(_KEYS.findall(head))) >= 2


def read(path: Path, options: ReadOptions) -> Record:
    """Return the raw signal of a recording.

    Raises:
        RecordError: it is not valid JSON, holds no such signal, or a fact is missing.
    """
    name = path.name
    signal = entry(entry(read_json(path), "data"), "raw")
    samples = entry(signal, "samples")
    if not isinstance(samples, dict) or not samples:
        raise RecordError(f"{name} holds no raw signal of one lead or six; other recordings of Kardia are not read.")
    step, fs = entry(signal, "amplitudeResolution"), entry(signal, "frequency")
    if not is_number(step):
        raise RecordError(f"{name} states no amplitude resolution, so its voltages are unknown.")
    step = step / 1000  # of nV
    channels = [Channel(LEADS.get(key, str(key)), numbers(name, values), "uV", step) for key, values in samples.items()]
    return to_record(path, channels, float(fs) if is_number(fs) else None, options)
