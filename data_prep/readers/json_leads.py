"""JSON of any program that holds an object of leads: a list of numbers under the name of each lead.

    {"fs": 500, "unit": "mV", "leads": {"I": [-0.115, ...], "II": [...], ...}}

Rate and unit are those of the nearest object around, and neither is guessed.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.leads import standard_lead
from data_prep.readers.channels import Channel, one_of_several, to_record
from data_prep.readers.columns import STATE_RATE, STATE_UNIT
from data_prep.readers.json_tree import begins_object, entry, numbers, read_json
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError
from data_prep.units import parse_rate

NAME = "JSON"
SUFFIXES: tuple[str, ...] = ()
MAX_DEPTH = 20
NO_LEADS = frozenset({b"i"})
"""Names that other lists have as well, as that of an index."""
_LIST = re.compile(rb'"([^"\\]{1,24})"\s*:\s*\[(?:\s*-?\d[\d.eE+-]*\s*,){20}')
"""Beginning of a long list of numbers, and its name."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is an object with numbers under the name of a lead."""
    names = (name.decode("latin-1") for name in _LIST.findall(head) if name not in NO_LEADS)
    return begins_object(head) and any(map(standard_lead, names))


def read(path: Path, options: ReadOptions) -> Record:
    """Return the leads of the object that has the most, then the longest of those.

    Raises:
        RecordError: it is not valid JSON, a lead is no list of numbers, or a fact is missing.
    """
    objects = list(_objects(read_json(path), [], 0))
    if not objects:
        raise RecordError(f"{path.name} holds no object with lists of numbers under the names of leads.")
    best, around = max(objects, key=lambda found: _rank(found[0]))
    rate, unit = _fact(around, STATE_RATE), _fact(around, STATE_UNIT)
    channels = [
        Channel(lead, numbers(path.name, best[lead]), None if unit is None else str(unit)) for lead in _leads(best)
    ]
    fs = None if rate is None else parse_rate(str(rate))
    if rate is not None and fs is None:
        raise RecordError(
            f"{path.name} states a sampling rate that is not a number of hertz above 0; correct the file."
        )
    return to_record(path, channels, fs, options, one_of_several(len(objects), "objects of leads"))


def _objects(tree: Any, around: list[Any], depth: int) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Yield each object of leads, with the objects around it from the innermost on, itself included."""
    if depth > MAX_DEPTH or not isinstance(tree, dict | list):
        return
    around = [tree, *around]
    if isinstance(tree, dict) and _leads(tree):
        yield tree, around
        return
    for child in tree.values() if isinstance(tree, dict) else tree:
        yield from _objects(child, around, depth + 1)


def _leads(tree: dict[str, Any]) -> list[str]:
    return [key for key, value in tree.items() if isinstance(value, list) and standard_lead(key) is not None]


def _rank(tree: dict[str, Any]) -> tuple[int, int]:
    leads = _leads(tree)
    return len(leads), max(len(tree[lead]) for lead in leads)


def _fact(around: list[Any], names: frozenset[str]) -> Any:
    """Return what the nearest object states under one of the names; None if none does."""
    for tree in around:
        for key in tree if isinstance(tree, dict) else ():
            value = entry(tree, key)
            if key.lower().replace("_", "") in names and isinstance(value, str | int | float):
                return value
    return None
