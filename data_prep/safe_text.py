"""Text from files and their names, made safe to show: on a terminal, on one line of a message, in a spreadsheet."""

import unicodedata

FORMULA_MARKS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""Spreadsheets run a cell that begins with one of these as a formula, some of them the full-width ones too."""


def printable(text: str) -> str:
    r"""Return `text` with control and format characters spelled out, as `\x1b`, `\n` or `\u202e`.

    A file's name may hold any bytes, and what is no text in it is spelled out as well. Spaces of all kinds stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode()


def printable_lines(text: str) -> str:
    """Return a message of several lines with each of them made printable."""
    return "\n".join(map(printable, text.split("\n")))


def cell(text: str) -> str:
    """Return printable text that no spreadsheet takes for a formula: an apostrophe stands before one that would be."""
    return _quoted(printable(text), "'")


def path_cell(path: str) -> str:
    """Return a path as a cell. `./=cmd.csv` is the same file as `=cmd.csv`, but no formula."""
    return _quoted(printable(path), "./")


def _quoted(text: str, mark: str) -> str:
    return mark + text if text.startswith(FORMULA_MARKS) else text
