"""Values that people write into the cells of tables: yes and no, nothing, numbers, a sex."""

import re
from collections.abc import Iterable

import pandas as pd

YES = frozenset({
    "1", "1.0", "true", "t", "yes", "y", "ja", "j", "oui", "si", "sí", "positive", "pos", "present", "wahr", "vrai",
    "verdadero", "vero",
})  # fmt: skip
NO = frozenset({
    "0", "0.0", "false", "f", "no", "n", "nein", "non", "negative", "neg", "absent", "falsch", "faux", "falso",
})  # fmt: skip
MISSING = frozenset({"", "na", "n/a", "nan", "nat", "null", "none", "-", "?", ".", "unknown", "unk", "missing"})
MALE = frozenset({"m", "male", "man", "männlich", "homme"})
FEMALE = frozenset({"f", "female", "woman", "w", "weiblich", "femme"})
NO_SEX = MISSING | {"u", "o", "x", "d", "other"}
SHOWN = 5
"""Number of lines, names or messages of a kind that are listed before the rest are counted."""


def words(cells: pd.Series) -> pd.Series:
    """Return the cells stripped and in lower case, as the sets of this module spell them."""
    return cells.str.strip().str.casefold()


def is_missing(cells: pd.Series) -> pd.Series:
    return words(cells).isin(MISSING)


def describe_missing(cells: pd.Series) -> str:
    """Return what cells without a value hold: `empty`, `'unknown'`, or both. Such words name no patient."""
    held = sorted(set(words(cells[is_missing(cells)])))
    return " or ".join(repr(word) if word else "empty" for word in held)


def is_yes(cells: pd.Series) -> pd.Series:
    """Return whether each cell is a word for yes, or the number 1 as in `1,00`."""
    return words(cells).isin(YES) | is_number(cells, 1)


def is_no(cells: pd.Series) -> pd.Series:
    """Return whether each cell is a word for no, or the number 0."""
    return words(cells).isin(NO) | is_number(cells, 0)


def is_number(cells: pd.Series, number: int) -> pd.Series:
    """Return whether each cell is a digit, as 1, 1.0 or 1,00. `1,000` may be a thousand and is not."""
    return cells.str.fullmatch(rf"\s*{number}([.,]0{{1,2}})?\s*")


def numbers(cells: pd.Series) -> pd.Series:
    """Return the cells as numbers, with a decimal point or comma, and NaN where a cell is not a number."""
    return pd.to_numeric(cells.str.strip().str.replace(",", ".", regex=False), errors="coerce").astype(float)


def ages(cells: pd.Series) -> pd.Series:
    """Return ages in years, as `63`, `63Y` or `63 years`, and NaN where a cell is not an age."""
    return numbers(cells.str.replace(re.compile(r"\s*(y|yrs?|years?)\s*$", re.IGNORECASE), "", regex=True))


def sexes(cells: pd.Series) -> pd.Series:
    """Return 0 for male and 1 for female, as PTB-XL has it, and NaN where a cell is neither."""
    plain = words(cells)
    male, female = plain.isin(MALE) | is_number(cells, 0), plain.isin(FEMALE) | is_number(cells, 1)
    return pd.Series(float("nan"), cells.index).mask(male, 0.0).mask(female, 1.0)


def lines(index: Iterable[int]) -> str:
    """Return `line 3`, `lines 3 and 7`, or the first of many lines with the number of the rest."""
    line_numbers = list(index)
    shown = [str(line) for line in line_numbers[:SHOWN]]
    last = f"{len(line_numbers) - SHOWN:,} more" if len(line_numbers) > SHOWN else shown.pop()
    return f"lines {', '.join(shown)} and {last}" if shown else f"line {last}"
