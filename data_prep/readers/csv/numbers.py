"""Numbers in a table of text: the separator of the cells, the decimal mark, and the parsing of rows."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from data_prep.leads import describe_lead, standard_lead
from data_prep.record import RecordError

SPACE = " "
_NOT_THOUSANDS = re.compile(r"(?<![\d,])0,\d|(?<!\d),\d|,\d{1,2}(?!\d)|,\d{4}")
"""A comma that cannot separate thousands, by the digits before or after it."""


def find_separator(line: str) -> str:
    """Return the separator of the cells of a first row."""
    separator = next((mark for mark in "\t;|," if mark in line), None)
    if separator is not None:
        return separator
    return SPACE if SPACE in line.strip() and standard_lead(line) is None else ","


def split_row(line: str, separator: str) -> list[str]:
    """Return the cells of a row, without spaces and quotes around them."""
    cells = line.split() if separator == SPACE else line.split(separator)
    return [cell.strip().strip("\"'").strip() for cell in cells]


def parse_number(cell: str) -> float | None:
    """Return the number in a cell, with a decimal point or comma; None if it holds none."""
    try:
        return float(cell.replace(",", ".", 1))
    except ValueError:
        return None


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, with a decimal point or comma."""
    return parse_number(cell) is not None


def find_decimal(name: str, rows: Sequence[str], separator: str) -> Literal[".", ","]:
    """Return the decimal mark of these rows: a comma only if it separates neither cells nor thousands."""
    if separator == "," or not any("," in row for row in rows):
        return "."
    if any("." in row for row in rows):
        raise RecordError(f"{name} has numbers with points and numbers with commas; write only decimal points.")
    if not any(_NOT_THOUSANDS.search(row) for row in rows):
        raise RecordError(f"{name}: its commas may be decimal commas or separate thousands; write decimal points.")
    return ","


@dataclass(frozen=True)
class Table:
    """Format of a table's rows, and the parser of them."""

    name: str
    columns: Sequence[str]
    separator: str
    decimal: Literal[".", ","]

    def read(self, rows: Sequence[str], n_before: int) -> Float64[np.ndarray, "row column"]:
        """Return the numbers of rows, which follow `n_before` others.

        Raises:
            RecordError: a row has more or fewer cells than there are columns, or a cell is not a number.
        """
        import pandas as pd

        self._require_cells(rows, n_before)
        try:
            table = pd.read_csv(
                io.StringIO("".join(rows)),
                sep=r"\s+" if self.separator == SPACE else self.separator,
                decimal=self.decimal,
                header=None,
                comment="#",
                skipinitialspace=True,
                low_memory=False,
            )
        except (ValueError, OverflowError) as error:  # pandas's parser errors are ValueErrors
            raise RecordError(self._not_a_number(rows, n_before)) from error
        if table.shape != (len(rows), len(self.columns)):
            raise RecordError(f"{self.name}: not a table of numbers (a quotation mark is not closed).")
        if any(dtype.kind not in "iuf" for dtype in table.dtypes):  # True and False would become 1 and 0
            raise RecordError(self._not_a_number(rows, n_before))
        return table.to_numpy(np.float64)

    def _require_cells(self, rows: Sequence[str], n_before: int) -> None:
        n_columns = len(self.columns)
        for number, row in enumerate(rows, n_before + 1):
            cells = row.partition("#")[0]
            n_cells = len(cells.split()) if self.separator == SPACE else cells.count(self.separator) + 1
            if n_cells == n_columns:
                continue
            if number > 1:
                raise RecordError(
                    f"{self.name}: not a table of numbers (row {number} has {n_cells} cells for {n_columns} names)."
                )
            remedy = ""
            if self.separator == "," and n_cells > n_columns:
                remedy = " If its commas are decimal, separate the columns by semicolons."
            if self.separator == SPACE:
                remedy = " If its names hold spaces, separate the columns by commas."
            raise RecordError(f"{self.name} has {n_cells} columns of numbers for {n_columns} names.{remedy}")

    def _not_a_number(self, rows: Sequence[str], n_before: int) -> str:
        mark = "point" if self.decimal == "." else "comma"
        for number, row in enumerate(rows, n_before + 1):
            cells = split_row(row.partition("#")[0], self.separator)
            for index, (column, cell) in enumerate(zip(self.columns, cells, strict=False), 1):
                plain = cell if self.decimal == "." else cell.replace(",", ".", 1)
                if plain and (not is_number(plain) or "," in plain):  # the cell itself may name a patient
                    return (
                        f"{self.name}: row {number}, {describe_lead(column, index)} is not a number; "
                        f"every cell must be a number with a decimal {mark}."
                    )
        return f"{self.name}: not a table of numbers."
