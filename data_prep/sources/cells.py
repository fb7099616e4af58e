"""What people write into the cells of their tables: yes and no, nothing, numbers, a sex."""

import re
from collections.abc import Iterable

import pandas as pd

YES = frozenset({"1", "1.0", "true", "t", "yes", "y", "ja", "j", "oui", "si", "sí", "positive", "pos", "present"})
NO = frozenset({"0", "0.0", "false", "f", "no", "n", "nein", "non", "negative", "neg", "absent"})
MISSING = frozenset({"", "na", "n/a", "nan", "nat", "null", "none", "-", "?", ".", "unknown", "unk", "missing"})
MALE = frozenset({"0", "0.0", "m", "male", "man", "männlich", "homme"})
FEMALE = frozenset({"1", "1.0", "f", "female", "woman", "w", "weiblich", "femme"})
NO_SEX = MISSING | {"u", "o", "x", "d", "other"}
SHOWN = 5
"""Lines, names or messages of a kind that a text lists before it counts the rest."""


def words(cells: pd.Series) -> pd.Series:
    """Return the cells stripped and in lower case, as the sets of this module spell them."""
    return cells.str.strip().str.casefold()


def is_missing(cells: pd.Series) -> pd.Series:
    return words(cells).isin(MISSING)


def numbers(cells: pd.Series) -> pd.Series:
    """Return the cells as numbers, with a decimal comma if need be; NaN where a cell is none."""
    return pd.to_numeric(cells.str.strip().str.replace(",", ".", regex=False), errors="coerce").astype(float)


def ages(cells: pd.Series) -> pd.Series:
    """Return ages in years, which may say so as `63Y` or `63 years`; NaN where a cell is none."""
    return numbers(cells.str.replace(re.compile(r"\s*(y|yrs?|years?)\s*$", re.IGNORECASE), "", regex=True))


def sexes(cells: pd.Series) -> pd.Series:
    """Return 0 for male and 1 for female, as PTB-XL has it; NaN where a cell is neither."""
    found = words(cells)
    return pd.Series(float("nan"), cells.index).mask(found.isin(MALE), 0.0).mask(found.isin(FEMALE), 1.0)


def lines(index: Iterable[int]) -> str:
    """Return `line 3`, `lines 3 and 7`, or the first of many with the number of the rest."""
    found = list(index)
    shown = [str(line) for line in found[:SHOWN]]
    last = f"{len(found) - SHOWN:,} more" if len(found) > SHOWN else shown.pop()
    return f"lines {', '.join(shown)} and {last}" if shown else f"line {last}"
