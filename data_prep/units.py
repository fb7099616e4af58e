"""Units of voltage and sampling rates, in the spellings that files use, and the plausible ranges of values."""

import math
import re
import unicodedata
from functools import lru_cache

RATES = (50.0, 50_000.0)
"""Lowest and highest sampling rate of an ECG, in hertz."""
OLDEST = 120
"""Highest age of a patient, in years. PTB-XL stores ages over 89 as 300, which is not a real age."""
NO_UNIT = "none"
"""Unit of values whose voltage scale is lost."""
UNITS = {"nV": 1e-6, "uV": 1e-3, "mV": 1.0, "V": 1e3, NO_UNIT: 1.0}
"""Millivolts in one of each unit."""
MICROVOLTS = 1000.0
"""Microvolts in a millivolt."""
LARGEST_SAMPLE = 32_767
"""Largest value of a sample of 16 bits, in which prepared folders and written WFDB records hold microvolts."""
HIGHEST = LARGEST_SAMPLE / MICROVOLTS
"""Highest voltage that such a sample holds, in millivolts."""
UNIT_NAMES = f"nV, uV, mV, V, or {NO_UNIT} where the voltage was lost"

_PREFIXES = {
    **dict.fromkeys(("n", "nano"), "n"),
    **dict.fromkeys(("u", "\u03bc", "micro", "mikro"), "u"),  # the Greek letter, which normalizing makes of the sign
    **dict.fromkeys(("m", "milli"), "m"),
    "": "",
}
_VOLTS = re.compile(rf"(?P<prefix>{'|'.join(sorted(_PREFIXES, key=len, reverse=True))})[ -]?v(?:olts?)?")
_BRACKETS = re.compile(r"\[(.*)\]|\((.*)\)|'(.*)'|\"(.*)\"")
_RATE = re.compile(
    r"(?P<number>\d+(?:\.\d*)?(?:e[-+]?\d+)?)"
    r"\s*(?P<kilo>k?)(?:hz|hertz|samples?(?:\s*/\s*|\s+per\s+)s(?:ec(?:ond)?)?|sps)?"
)


def normalize(text: str) -> str:
    """Return the text without differences of typography: subscripts, widths, kinds of mu and of space."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


@lru_cache(maxsize=1024)
def parse_unit(text: str) -> str | None:
    """Return the key of UNITS that a file means by `text`, as `µV`, `microvolts` and `[UV]` mean uV; or None."""
    plain = normalize(text).casefold()
    if match := _BRACKETS.fullmatch(plain):
        plain = next(inner for inner in match.groups() if inner is not None).strip()
    if plain == NO_UNIT:
        return NO_UNIT
    volts = _VOLTS.fullmatch(plain)
    return None if volts is None else f"{_PREFIXES[volts['prefix']]}V"


def parse_rate(text: str) -> float | None:
    """Return the sampling rate in hertz that a file means by `text`, as `250`, `250Hz` and `0.25 kHz` do; or None.

    A comma may be a decimal or a thousands mark, so `1,000` is None.
    """
    match = _RATE.fullmatch(_decimal(normalize(text).casefold()))
    if match is None or (match["kilo"] and match.end("kilo") == match.end()):  # 1k is not a rate
        return None
    rate = float(match["number"]) * (1000 if match["kilo"] else 1)
    return rate if 0 < rate < math.inf else None


def _decimal(text: str) -> str:
    """Replace a decimal comma by a point, where it cannot separate thousands."""
    return re.sub(r"(?<=\d),(?=\d{1,2}(?!\d)|\d{4})", ".", text, count=1)
