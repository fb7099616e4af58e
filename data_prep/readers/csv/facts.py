"""Facts in the comments of a table of text: `fs=500 unit=mV`, `Sampling rate: 500 Hz`, `Units: µV`."""

import re
from collections.abc import Iterable

from data_prep.readers.options import ReadOptions
from data_prep.record import RecordError
from data_prep.units import parse_rate, parse_unit

_RATE = re.compile(
    r"\b(?:fs|sampl(?:e|ing)[\s_-]*(?:rate|freq(?:uency)?))(?:\s*[\[(](?P<unit>[^\])]*)[\])])?\s*[=:]\s*[\"']?"
    r"(?P<value>[^\s,;\"']+(?:,\d+)?(?:\s+(?:k?hz|hertz|sps|samples?\s*(?:/|per)\s*s(?:ec(?:ond)?)?)\b)?)",
    re.IGNORECASE,
)
_UNIT = re.compile(r"(?<!time[\s_])\bunits?\s*[=:]\s*[\"']?(?P<value>[^\s,;\"']+)", re.IGNORECASE)


def find_rate(name: str, comments: Iterable[str], options: ReadOptions) -> float | None:
    """Return the sampling rate that the comments or else the options state; None if neither does."""
    stated = [
        f"{match['value']} {match['unit'] or ''}".strip() for comment in comments for match in _RATE.finditer(comment)
    ]
    rates = dict.fromkeys(map(parse_rate, stated))
    if None in rates:
        raise RecordError(
            f"{name} states a sampling rate that is not a number of hertz above 0; write it as fs=500 or fs=500 Hz."
        )
    if len(rates) > 1:
        several = " and ".join(f"{rate:g} Hz" for rate in rates)
        raise RecordError(f"{name} states the sampling rates {several}; keep the right one.")
    return next(iter(rates), options.fs)


def find_unit(name: str, comments: Iterable[str], options: ReadOptions) -> str | None:
    """Return the unit that the comments state, in their spelling."""
    stated = {parse_unit(text): text for comment in comments for text in _UNIT.findall(comment)}
    if len(stated) > 1 and options.unit is None:
        units = " and ".join(unit or "an unknown one" for unit in stated)
        raise RecordError(f"{name} states the units {units}; keep the right one.")
    return next(iter(stated.values()), None)
