"""Apple Health's CSV of a watch's ECG: facts as `name,value` in the phone's language, then a value in each line."""

import csv
import re
from pathlib import Path

import numpy as np

from data_prep.leads import standard_lead
from data_prep.readers.channels import Channel, to_record
from data_prep.readers.csv.lines import text_of
from data_prep.readers.files import read_bytes
from data_prep.readers.options import ReadOptions
from data_prep.readers.xml_tree import number
from data_prep.record import Record, RecordError
from data_prep.units import UNITS, parse_rate, parse_unit

NAME = "Apple Health CSV"
SUFFIXES: tuple[str, ...] = ()
MAX_BYTES = 2**24
"""Largest file. A watch records 30 s, about 100 kB."""
FEWEST_FACTS, MOST_FACTS = 3, 40
"""Number of lines before the first value."""
_HERTZ = re.compile(rb"h(?:ert)?z", re.IGNORECASE)


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this has lines of facts, one of them a rate in hertz, and then values."""
    if not _HERTZ.search(head):
        return False
    facts, values = _split(text_of(head))
    return bool(values) and len(facts) >= FEWEST_FACTS and _rate(facts) is not None


def read(path: Path, options: ReadOptions) -> Record:
    """Return the one lead of a recording.

    Raises:
        RecordError: a value is not a number, or the rate or unit is missing.
    """
    facts, lines = _split(text_of(read_bytes(path, MAX_BYTES)))
    values = [number(line.strip().strip('"')) for line in lines if line.strip(' ",;')]
    if None in values:
        raise RecordError(f"{path.name}: value {values.index(None) + 1} is not a number; the file is damaged.")
    words = (word for row in facts for cell in row[1:] for word in (cell, *cell.split()[-1:]))  # `Ableitung I`
    leads = [lead for word in words if (lead := standard_lead(word))]
    channel = Channel(leads[0] if leads else "", np.array(values, np.float64), _unit(facts))
    return to_record(path, [channel], _rate(facts), options)


def _split(text: str) -> tuple[list[list[str]], list[str]]:
    """Return the rows of facts, and the lines from the first value on."""
    lines = text.splitlines()
    for index, line in enumerate(lines[:MOST_FACTS]):
        if number(line.strip().strip('"')) is not None:
            separator = ";" if any(";" in fact for fact in lines[:index]) else ","
            rows = csv.reader((fact for fact in lines[:index] if fact.strip()), delimiter=separator)
            return [row for row in rows if len(row) > 1], lines[index:]
    return [], []


def _rate(facts: list[list[str]]) -> float | None:
    """Return the sampling rate in hertz. A comma in it is a decimal one, as in `511,844 hertz`, and not quoted."""
    texts = (",".join(row[1:]).strip() for row in facts)
    rates = (parse_rate(text.replace(",", ".")) for text in texts if text.lower().endswith(("hertz", "hz")))
    return next((rate for rate in rates if rate is not None), None)


def _unit(facts: list[list[str]]) -> str | None:
    units = (parse_unit(row[1]) for row in facts if len(row) == 2)
    return next((unit for unit in units if unit in UNITS), None)
