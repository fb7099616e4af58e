"""HL7 FHIR (`Observation`, alone or in a bundle): a component of sampled data for each lead, as text.

A value is a sample times the factor, plus the origin, in the unit of the origin (hl7.org/fhir, SampledData). Several
components of one lead are its parts in their order, as HealthKitOnFHIR writes them.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from data_prep.leads import LEAD_CODES, standard_lead
from data_prep.readers.channels import Channel, one_of_several, to_record
from data_prep.readers.faults import unsupported
from data_prep.readers.json_tree import begins_object, entry, is_number, read_json
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError

NAME = "FHIR JSON"
SUFFIXES: tuple[str, ...] = ()
FIRST_CODE = 131_328
"""Code of MDC_ECG_ELEC_POTL in ISO/IEEE 11073-10101, to which the code of a lead is added."""
MAX_DEPTH = 20
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
"""Seconds in each unit of an interval."""
NO_VALUE = frozenset({"E", "U", "L"})
"""Texts that stand for an error, and for a value above or below the limits."""
_RESOURCE = re.compile(rb'"resourceType"\s*:\s*"(?:Observation|Bundle)"')


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is an observation, or a bundle of some, with sampled data."""
    return begins_object(head) and b'"valueSampledData"' in head and _RESOURCE.search(head) is not None


def read(path: Path, options: ReadOptions) -> Record:
    """Return the ECG of a file: of several the one with the most leads, then the longest.

    Raises:
        RecordError: no component holds sampled data, data are damaged, or a fact is missing or contradictory.
    """
    observations = [each for each in map(_components, _observations(read_json(path), 0)) if each]
    if not observations:
        raise RecordError(f"{path.name} holds no component with sampled data; only ECGs are read.")
    best = max(observations, key=_rank)
    n_ecgs = sum(_rank(each)[0] > 0 for each in observations)
    rates = {_rate(path.name, data) for _, data in best}
    if len(rates) > 1:
        raise RecordError(f"{path.name}: its leads should have one sampling rate; found {len(rates)}.")
    parts = defaultdict[str, list[Channel]](list)
    for lead, data in best:
        parts[lead].append(_channel(path.name, lead, data))
    channels = [_joined(path.name, each) for each in parts.values()]
    return to_record(path, channels, rates.pop(), options, one_of_several(n_ecgs, "recordings"))


def _observations(tree: Any, depth: int) -> Iterator[Any]:
    """Yield all objects that have components."""
    if isinstance(entry(tree, "component"), list):
        yield tree
    elif depth < MAX_DEPTH and isinstance(tree, dict | list):
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from _observations(child, depth + 1)


def _components(observation: Any) -> list[tuple[str, Any]]:
    """Return the lead and the data of each component with sampled data."""
    components = ((each, entry(each, "valueSampledData")) for each in observation["component"])
    return [(_lead(entry(each, "code")), data) for each, data in components if isinstance(data, dict)]


def _lead(code: Any) -> str:
    """Return the lead that one of the codings names, or else the code in words."""
    codings = entry(code, "coding")
    codings = codings if isinstance(codings, list) else []
    for coding in codings:
        digits = str(entry(coding, "code"))
        if digits.isascii() and digits.isdecimal() and (lead := LEAD_CODES.get(int(digits[:9]) - FIRST_CODE)):
            return lead
    words = [entry(code, "text"), *(entry(coding, key) for coding in codings for key in ("display", "code"))]
    texts = [word for word in words if isinstance(word, str)]
    return next(filter(standard_lead, texts), texts[0] if texts else "")


def _rank(components: list[tuple[str, Any]]) -> tuple[int, int]:
    leads = {lead for name, _ in components if (lead := standard_lead(name))}
    return len(leads), sum(len(str(entry(data, "data"))) for _, data in components)


def _rate(name: str, data: Any) -> float | None:
    """Return the sampling rate in hertz of R4 (a period in milliseconds) or R5 (an interval and its unit)."""
    period = entry(data, "period")
    interval, unit = (entry(data, "interval"), entry(data, "intervalUnit")) if period is None else (period, "ms")
    if not _number(name, interval, 0) > 0:
        return None
    if unit not in SECONDS:
        raise RecordError(f"{name}: the unit of its time is none of {', '.join(SECONDS)}; correct the file.")
    return float(np.round(1 / (interval * SECONDS[unit]), 6))


def _channel(name: str, lead: str, data: Any) -> Channel:
    if entry(data, "dimensions") not in (1, None):
        raise unsupported(f"{name} has several values at a time in one component")
    if any(entry(data, key) is not None for key in ("offsets", "codeMap")):
        raise unsupported(f"{name} has samples at uneven times, or as codes")
    origin = entry(data, "origin")
    unit = entry(origin, "code") or entry(origin, "unit")
    return Channel(
        lead,
        _values(name, entry(data, "data")),
        unit if isinstance(unit, str) else None,
        _number(name, entry(data, "factor"), 1),
        _number(name, entry(origin, "value"), 0),
    )


def _number(name: str, value: Any, default: float) -> float:
    """Return a number of the file, or the default where it has none."""
    if value is None:
        return default
    if not is_number(value):
        raise RecordError(f"{name}: an interval, factor or origin of its samples is not a number; correct the file.")
    return float(value)


def _values(name: str, data: Any) -> Float64[np.ndarray, " time"]:
    texts = data.split() if isinstance(data, str) else []
    try:
        return np.array([np.nan if text in NO_VALUE else float(text) for text in texts], np.float64)
    except ValueError as error:
        raise RecordError(f"{name}: the samples of a lead are not all numbers; it is damaged.") from error


def _joined(name: str, parts: list[Channel]) -> Channel:
    first = parts[0]
    if len({(part.unit, part.step, part.zero) for part in parts}) > 1:
        raise unsupported(f"{name} has parts of a lead with different units, factors or origins")
    values = np.concatenate([part.values for part in parts])
    return Channel(first.lead, values, first.unit, first.step, first.zero)
