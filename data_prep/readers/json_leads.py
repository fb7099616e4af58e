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
from data_prep.readers.columns import STATE_RATE, STATE_UNIT, refuse_electrodes
from data_prep.readers.json_tree import begins_object, numbers, read_json
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError
from data_prep.units import parse_rate, parse_unit

NAME = "JSON"
SUFFIXES: tuple[str, ...] = ()
MAX_DEPTH = 20
NO_LEADS = frozenset({b"i", *(b"c%d" % i for i in range(1, 7)), *(b"d%d" % i for i in range(1, 4))})
"""Names that other lists have as well, as those of an index or of channels."""
_LIST = re.compile(rb'"([^"\\]{1,24})"\s*:\s*\[(?:\s*-?\d[\d.eE+-]*\s*,){20}')
"""Beginning of a long list of numbers, and its name."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is an object with numbers under the name of a lead."""
    names = (name.decode("latin-1") for name in _LIST.findall(head) if name not in NO_LEADS)
    return begins_object(head) and any(map(standard_lead, names))


def read(path: Path, options: ReadOptions) -> Record:
    """Return the leads of the object that has the most, then the longest of those.

    Raises:
        RecordError: it is not valid JSON, a lead is not a list of numbers, or a fact is missing or contradictory.
    """
    objects = list(_objects(read_json(path), [], 0))
    if not objects:
        raise RecordError(f"{path.name} holds no object with lists of numbers under the names of leads.")
    best, around = max(objects, key=lambda pair: _rank(pair[0]))
    rates = {parse_rate(fact) for fact in _facts(around, STATE_RATE)}
    units = {parse_unit(fact) or fact for fact in _facts(around, STATE_UNIT)}
    if None in rates:
        raise RecordError(
            f"{path.name} states a sampling rate that is not a number of hertz above 0; correct the file."
        )
    if len(rates) > 1 or (len(units) > 1 and options.unit is None):
        raise RecordError(f"{path.name} states several sampling rates or units beside its leads; keep the right one.")
    refuse_electrodes(path.name, [options.lead_of(key) for key in best])
    unit = next(iter(units), None)
    channels = [Channel(lead, numbers(path.name, best[lead]), unit) for lead in _leads(best)]
    remarks = one_of_several(len(objects), "objects of leads")
    return to_record(path, channels, next(iter(rates), None), options, remarks)


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


def _facts(around: list[Any], names: frozenset[str]) -> list[str]:
    """Return what the nearest object that states something under these names states, as texts."""
    for tree in around:
        values = [tree[key] for key in tree if key.lower().replace("_", "") in names] if isinstance(tree, dict) else []
        if facts := [str(value) for value in values if isinstance(value, str | int | float)]:
            return facts
    return []
