"""Text from files and their names, made safe for a terminal, for one line of a message, and for a spreadsheet."""

import unicodedata

FORMULA_MARKS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""Characters with which a formula begins in spreadsheets, the full-width ones in some of them."""


def printable(text: str) -> str:
    r"""Return `text` with control and format characters spelled out, as `\x1b`, `\n` or `\u202e`.

    A file's name may hold any bytes. Those that are not text are spelled out as well. Spaces of all kinds stay.
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
    """Return printable text that no spreadsheet reads as a formula: an apostrophe is put before a formula mark."""
    return _quoted(printable(text), "'")


def path_cell(path: str) -> str:
    """Return a path as a cell. `./=cmd.csv` is the same file as `=cmd.csv`, but not a formula."""
    return _quoted(printable(path), "./")


def _quoted(text: str, mark: str) -> str:
    return mark + text if text.startswith(FORMULA_MARKS) else text
