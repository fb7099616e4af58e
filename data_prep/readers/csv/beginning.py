"""The first lines of a table of text, which tell whether it may be an ECG."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.leads import standard_lead
from data_prep.readers.csv.lines import Lines, open_head
from data_prep.readers.csv.numbers import find_separator, is_number, parse_number, split_row
from data_prep.readers.files import read_head
from data_prep.readers.options import ReadOptions
from data_prep.record import RecordError

PREDICTIONS = ["path", "status", "message"]
"""First columns of a table of predictions."""
_STATES_FACTS = re.compile(r"fs|unit|rate|hz", re.IGNORECASE)


class Beginning(NamedTuple):
    """First lines of a table of text, as its reader sees them."""

    comments: Sequence[str] = ()
    """Comments above the first row."""
    lines: Sequence[str] = ()
    """Rows as they stand, without comments and blank lines. The first may name the columns."""
    separator: str = ","

    @property
    def header(self) -> list[str]:
        """Cells of the first row; none if there is no row."""
        return split_row(self.lines[0], self.separator) if self.lines else []

    @property
    def rows(self) -> Iterator[list[str]]:
        """Cells of each row below the header."""
        return (split_row(line, self.separator) for line in self.lines[1:])

    @property
    def has_no_names(self) -> bool:
        """Whether the first row has numbers alone."""
        return all(map(is_number, self.header))

    def leads(self, options: ReadOptions) -> list[str]:
        """Return the standard leads that the first row names."""
        return [lead for cell in self.header if (lead := standard_lead(options.lead_of(cell)))]

    def reason_not_ecg(self, options: ReadOptions) -> str | None:
        """Return why the table cannot be an ECG, or None if it may be one."""
        cells = self.header
        if cells[:3] == PREDICTIONS:
            return "it holds predictions of ecgmtl"
        is_table = len(cells) >= 2 and len(next(self.rows, [])) == len(cells)
        states_facts = any(_STATES_FACTS.search(comment) for comment in self.comments)
        if not is_table or states_facts or self.leads(options) or self.may_be_leads():
            return None
        return f"it is a table about something else: none of its {len(cells)} columns is a lead"

    def may_be_leads(self) -> bool:
        """Return whether columns may be leads without usual names: all are numbers, half of them fall below 0."""
        if self.has_no_names:
            return True
        rows = [[parse_number(cell) for cell in row] for row in self.rows][:-1]  # the last may be cut off
        if not rows or any(number is None for row in rows for number in row):
            return False
        columns = list(zip(*rows, strict=False))
        return 2 * sum(min(column) < 0 for column in columns) >= len(columns)


def read_beginning(path: Path) -> Beginning:
    """Return the first lines of a regular file, or none if it cannot be read or is not text."""
    try:
        lines = Lines(path.name, open_head(path.name, read_head(path)))
        separator = lines.separator or find_separator(lines.peek() or "")
        return Beginning(lines.comments, list(lines), separator)
    except RecordError:  # NUL bytes, or thousands of blank lines
        return Beginning()
