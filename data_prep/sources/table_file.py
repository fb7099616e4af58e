"""Reader of tables of text as spreadsheets write them: encoding, separator, empty rows and columns."""

import codecs
import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from data_prep.places import File
from data_prep.remote import read_all
from data_prep.sources.cells import NO, SHOWN, YES, lines
from data_prep.sources.tables import SourceError

SEPARATORS = ",;\t"
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""Bytes that files of Excel and LibreOffice begin with, under any name."""
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class TableFile(NamedTuple):
    """A table as read."""

    cells: pd.DataFrame
    notes: tuple[str, ...]
    """How it was read if it is not plain UTF-8."""
    sha256: str
    """SHA-256 of the file, in hexadecimal digits."""


def read_table(path: File) -> TableFile:
    """Read a table.

    Every cell is the text of the file, so that no code is read as a number or a missing value. The index is the line in
    the file.

    Raises:
        SourceError: the file is not a table of text, rows differ in their number of cells, or two columns share a name.
        PlaceError: it is remote, and its place cannot be reached.
    """
    content = read_content(path)
    if content.startswith(SPREADSHEETS):
        raise SourceError(f"{path}: a spreadsheet, not a text file; save it as CSV in UTF-8.")
    text, notes = decode(path, content)
    rows = read_rows(path, text)
    if not rows:
        raise SourceError(f"{path}: not readable as CSV: it is empty.")
    header = [name.strip() for name in rows.pop(min(rows))]
    require_even(path, header, rows)
    table = pd.DataFrame(
        [row[: len(header)] for row in rows.values()], index=list(rows), columns=range(len(header)), dtype=str
    )
    kept = [column for column, name in enumerate(header) if name or (table[column].str.strip() != "").any()]
    names = [header[column] for column in kept]
    first = {name: column for column, name in zip(reversed(kept), reversed(names), strict=True)}
    duplicates = [(first[name], column) for column, name in zip(kept, names, strict=True) if first[name] != column]
    if duplicates:
        which = ", ".join(f"{one + 1} and {other + 1}" for one, other in duplicates[:SHOWN])
        raise SourceError(f"{path}: columns {which} have the same name; keep or rename one.")
    return TableFile(table[kept].set_axis(names, axis=1), notes, hashlib.sha256(content).hexdigest())


def read_content(path: File) -> bytes:
    try:
        return path.read_bytes() if isinstance(path, Path) else read_all(path)
    except OSError as error:
        raise SourceError(f"{path}: not readable: {error.strerror or 'there is no such file'}.") from error


def decode(path: File, content: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the text of a table, decoded as UTF-16, UTF-8 or else Windows-1252, and remarks on the encoding.

    Raises:
        SourceError: it is in none of these encodings.
    """
    try:
        if content.startswith(UTF_16):
            return content.decode("utf-16"), ()
        return content.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        pass
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: neither UTF-8 nor Latin-1; save it as CSV in UTF-8.") from error
    return text, (
        f"{path.name} is not UTF-8; it was read as Latin-1 (Windows-1252). Check the names for wrong letters.",
    )


def read_rows(path: File, text: str) -> dict[int, list[str]]:
    """Return the rows that are not empty, by their lines. The first row determines the separator."""
    stream = io.StringIO(text, newline="")
    first = next((line for line in stream if line.strip()), "")
    declared = first.strip().lower().removeprefix("sep=") if first.lower().startswith("sep=") else ""
    separator = declared if len(declared) == 1 else max(SEPARATORS, key=first.count)
    stream.seek(0)
    rows, line = {}, 1
    reader = csv.reader(stream, delimiter=separator, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows[line] = row
            line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(f"{path}, line {line}: not readable as CSV: {error}.") from error
    if declared:
        del rows[min(rows)]
    return rows


def require_even(path: File, header: Sequence[str], rows: dict[int, list[str]]) -> None:
    """Raise SourceError unless each row has as many cells as the header, apart from empty ones at its end."""
    uneven = [line for line, row in rows.items() if len(row) < len(header) or any(row[len(header) :])]
    if uneven:
        raise SourceError(
            f"{path}, {lines(uneven)}: a different number of cells than the {len(header)} columns of the first line. "
            f"Write a separator for each cell, and quote text that holds separators."
        )


def is_header(names: Sequence[str]) -> bool:
    """Return whether these may be names of columns and so be quoted: a row of data has cells of 0, 1, yes or no."""
    return not any(name.casefold() in YES | NO for name in names)
