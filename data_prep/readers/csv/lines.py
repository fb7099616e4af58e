"""The lines of a table of text: decoded, bounded in length, without comments and blank lines."""

import codecs
import re
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from itertools import islice
from pathlib import Path

from data_prep.record import RecordError

MAX_LINE = 2**16
"""Largest number of characters of a line. A row of 12 leads has about 100."""
MAX_EMPTY = 10_000
"""Largest number of comments and blank lines in a row that are skipped."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def open_text(path: Path) -> TextIOWrapper:
    """Open a text file in the encoding that its byte order mark states; without one, as UTF-8 or else Latin-1."""
    with path.open("rb") as file:
        start = file.read(MAX_LINE)
    return path.open(encoding=_encoding(path.name, start), errors="replace", newline="")


def open_head(name: str, head: bytes) -> TextIOWrapper:
    """Open the first bytes of a text file as `open_text` opens the whole of it."""
    return TextIOWrapper(BytesIO(head), _encoding(name, head), "replace", newline="")


def _encoding(name: str, start: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    if b"\0" in start:
        raise RecordError(f"{name} contains NUL bytes, so it is not text; save it as UTF-8.")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def text_of(content: bytes) -> str:
    """Return the text of a file or of its beginning; empty if it contains NUL bytes."""
    try:
        return content.decode(_encoding("", content), errors="replace")
    except RecordError:
        return ""


def decode_head(head: bytes) -> list[str]:
    """Return the first three lines of a table, without comments and blank lines; none if it contains NUL bytes."""
    text = text_of(head)
    lines = (line.strip() for line in text.splitlines()[:-1] or [text])
    return list(islice((line for line in lines if line and not _is_comment(line) and not _DECLARED.fullmatch(line)), 3))


def _is_comment(line: str) -> bool:
    return line.startswith("#") or _TITLE.fullmatch(line) is not None


_TITLE = re.compile(r"\w+ signal:\s*\d+\s*x\s*\d+", re.IGNORECASE)
"""Title above a table that GE MUSE exports as text, as in `Rhythm signal: 5000 X 12`. It counts as a comment, but a
file with a second one is refused."""
_DECLARED = re.compile(r"\"?sep=(.)\"?\s*", re.IGNORECASE)


class Lines:
    """The lines of a table, one by one, without comments and blank lines.

    `comments` holds the comments before the first line, `separator` what a spreadsheet's line `sep=;` there declares.
    """

    def __init__(self, name: str, text: TextIOWrapper) -> None:
        self.comments: list[str] = []
        self.separator: str | None = None
        self._name, self._text, self._begun, self._n_lines = name, text, False, 0
        self._ahead: str | None = self._next()

    def peek(self) -> str | None:
        """Return the next line without consuming it; None at the end."""
        return self._ahead

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._ahead
        if line is None:
            raise StopIteration
        self._ahead = self._next()
        return line

    def count_rest(self, path: Path) -> int:
        """Count the remaining lines of the file, including blank ones, without decoding them."""
        total, end = 0, b"\n"
        with path.open("rb") as file:
            while block := file.read(2**22):
                total, end = total + block.count(b"\n"), block[-2:].rstrip(b"\0")
        total += not end.endswith(b"\n")
        return total - self._n_lines + (self._ahead is not None)

    def _next(self) -> str | None:
        for _ in range(MAX_EMPTY):
            line = self._text.readline(MAX_LINE + 1)
            if len(line) > MAX_LINE:
                raise RecordError(
                    f"{self._name} has a line of more than {MAX_LINE} characters; a table has one row per line."
                )
            if not line:
                return None
            self._n_lines += 1
            content = line.strip()
            if not content:
                continue
            if not _is_comment(content):
                if self._begun or not (declared := _DECLARED.fullmatch(content)):
                    self._begun = True
                    return line.rstrip("\r\n") + "\n"
                self.separator = declared[1]
            elif not self._begun:
                self.comments.append(content.lstrip("#").strip())
            elif _TITLE.fullmatch(content):  # such as that of averaged beats
                raise RecordError(f"{self._name} holds several tables; keep only that of the rhythm.")
        raise RecordError(f"{self._name} has more than {MAX_EMPTY} lines of comments or blanks in a row.")
