"""Arrays in NumPy's .npy format, read within bounds: nothing is evaluated or unpickled, and sizes are checked.

The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from data_prep.readers.files import require_sane_size
from data_prep.record import RecordError

MAX_HEADER = 4096
"""Largest header in bytes. An array of numbers or text needs 118."""
MAX_TEXT = 2**16
"""Largest array in bytes that states a fact, such as the names of the leads."""
MAX_SKIPPED = 2**31
"""Largest number of bytes that are skipped before the values that are used."""
BLOCK = 2**22
"""Number of bytes that are read at a time."""
STACKED = 3
"""Number of axes of an array that stacks recordings."""
_LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}
"""Size of the length of the header in each version of the format."""
_ITEM = r"(['\"])(?:descr|fortran_order|shape)\1\s*:\s*(?:'[^'\\]*'|\"[^\"\\]*\"|True|False|\([\d\s,L]*\))"
_ENTRY = re.compile(r"['\"](descr|fortran_order|shape)['\"]\s*:\s*(?:['\"]([^'\"]*)['\"]|(True|False)|\(([\d\s,L]*)\))")
_HEADER = re.compile(rf"\{{\s*{_ITEM}\s*,\s*{_ITEM.replace('1', '2')}\s*,\s*{_ITEM.replace('1', '3')}\s*,?\s*\}}\s*")
_NUMBER_OR_TEXT = re.compile(r"[<>|=]?(?:[iuf](?:1|2|4|8|16)|[SU]\d{1,9}|b1|O)")


@runtime_checkable
class Stream(Protocol):
    """An open member of an archive."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...


class Header(NamedTuple):
    """Content of an array's header."""

    dtype: np.dtype
    by_columns: bool
    """Whether the values are stored column by column, in Fortran's order."""
    shape: tuple[int, ...]
    n_bytes: int
    """Size of the header itself."""

    @property
    def n_values(self) -> int:
        return math.prod(self.shape)


def read_header(source: str, stream: Stream, size: int | None) -> Header:
    """Read the header at the start of an array, and check that it promises `size` bytes, if that is known.

    Raises:
        RecordError: the header is damaged, or belongs to an unsupported kind of array.
    """
    start = stream.read(8)
    length_bytes = _LENGTH_BYTES.get(start[6:])
    if start[:6] != b"\x93NUMPY" or length_bytes is None:
        raise RecordError(f"{source} is not an array; it is damaged.")
    length = int.from_bytes(stream.read(length_bytes), "little")
    if length > MAX_HEADER:
        raise RecordError(f"{source} has a header of {length} bytes, more than {MAX_HEADER}; it is damaged.")
    dtype, by_columns, shape = _parse(source, stream.read(length).decode("latin-1"))
    header = Header(dtype, by_columns, shape, 8 + length_bytes + length)
    if len(shape) != STACKED:  # of which one is read after the other
        require_sane_size(source, header.n_values, 1)
    promised = header.n_bytes + header.n_values * dtype.itemsize
    if size is not None and promised != size:
        compared = "fewer" if promised > size else "more"
        raise RecordError(f"{source} holds {compared} than the {header.n_values} values that it promises.")
    return header


def _parse(source: str, text: str) -> tuple[np.dtype, bool, tuple[int, ...]]:
    entries = {key: (quoted, word, numbers) for key, quoted, word, numbers in _ENTRY.findall(text)}
    if not _HEADER.fullmatch(text) or len(entries) != 3:
        raise RecordError(f"{source} has no readable header; it is damaged, or not an array of numbers.")
    descr, by_columns, shape = entries["descr"][0], entries["fortran_order"][1], entries["shape"][2]
    numbers = [number.strip().removesuffix("L") for number in shape.split(",") if number.strip()]
    if not _NUMBER_OR_TEXT.fullmatch(descr) or not by_columns or not all(re.fullmatch(r"\d{1,18}", n) for n in numbers):
        raise RecordError(f"{source} has no readable header; it is damaged, or not an array of numbers.")
    if descr.endswith("O"):
        raise RecordError(f"{source} holds Python objects, which are never loaded; save numbers or text.")
    try:
        dtype = np.dtype(descr)
    except TypeError as error:  # some of the widths do not exist
        raise RecordError(f"{source} holds values of type {descr}, which is unknown.") from error
    return dtype, by_columns == "True", tuple([int(number) for number in numbers])


def read_fact(source: str, stream: Stream, size: int, at_most: int = MAX_TEXT) -> np.ndarray:
    """Read a small array completely."""
    if size > at_most + MAX_HEADER:
        raise RecordError(f"{source} holds {size} bytes, more than such an array needs.")
    header = read_header(source, stream, size)
    content = _read_exactly(source, stream, header.n_values * header.dtype.itemsize)
    return np.frombuffer(content, header.dtype).reshape(header.shape, order="F" if header.by_columns else "C")


def to_texts(source: str, values: np.ndarray) -> list[str]:
    """Return the entries of an array of text or bytes."""
    if values.dtype.kind == "S":
        return [bytes(entry).decode("utf-8", "replace") for entry in values.ravel()]
    if values.dtype.kind != "U":
        raise RecordError(f"{source} must be text; found {values.dtype} of shape {values.shape}.")
    codec = "utf-32-be" if values.dtype.str.startswith(">") else "utf-32-le"
    raw, size = values.ravel().tobytes(), values.dtype.itemsize
    try:
        # str() of a NumPy entry raises SystemError where a code point lies beyond Unicode
        return [raw[at : at + size].decode(codec).rstrip("\0") for at in range(0, len(raw), size or 1)]
    except UnicodeDecodeError as error:
        raise RecordError(f"{source} holds text that is not valid Unicode; the file is damaged.") from error


def read_rows(source: str, stream: Stream, header: Header, n_rows: int) -> Iterator[Shaped[np.ndarray, "row column"]]:
    """Read the first rows of a table in pieces, from a `stream` that is past the header."""
    n_total, n_columns = header.shape
    width = header.dtype.itemsize
    if not header.by_columns:
        at_a_time = max(1, BLOCK // max(width * n_columns, 1))
        for first in range(0, n_rows, at_a_time):
            count = min(at_a_time, n_rows - first)
            content = _read_exactly(source, stream, count * n_columns * width)
            yield np.frombuffer(content, header.dtype).reshape(count, n_columns)
        return
    if n_rows == n_total:  # without seeking, so that the archive's checksum is compared
        content = _read_exactly(source, stream, n_rows * n_columns * width)
        yield np.frombuffer(content, header.dtype).reshape(n_columns, n_rows).T
        return
    if (n_columns - 1) * n_total * width > MAX_SKIPPED:
        raise RecordError(f"{source} is too long for an array in Fortran's order; save np.ascontiguousarray(signal).")
    columns = np.empty((n_columns, n_rows), header.dtype)
    for index, column in enumerate(columns):
        stream.seek(header.n_bytes + index * n_total * width)
        column[:] = np.frombuffer(_read_exactly(source, stream, n_rows * width), header.dtype)
    yield columns.T


@dataclass(frozen=True)
class Stacked:
    """An array of three axes in an open file, of which parts are read."""

    source: str
    """Name of the file in messages."""
    stream: Stream
    header: Header

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.shape

    @property
    def dtype(self) -> np.dtype:
        return self.header.dtype

    @property
    def n_together(self) -> int:
        """Number of parts that lie together: all of them in Fortran's order, which has the first axis innermost."""
        return self.shape[0] if self.header.by_columns else 1

    def read(self, first: int, count: int) -> Shaped[np.ndarray, "record first_axis second_axis"]:
        """Read `count` parts along the first axis, from number `first` on."""
        n_total, *inner = self.shape
        n_values, width = math.prod(inner), self.dtype.itemsize
        if not self.header.by_columns:
            self.stream.seek(self.header.n_bytes + first * n_values * width)
            content = _read_exactly(self.source, self.stream, count * n_values * width)
            return np.frombuffer(content, self.dtype).reshape(count, *inner)
        values = np.empty((n_values, count), self.dtype)
        for index, run in enumerate(values):
            self.stream.seek(self.header.n_bytes + (index * n_total + first) * width)
            run[:] = np.frombuffer(_read_exactly(self.source, self.stream, count * width), self.dtype)
        return values.reshape(*reversed(inner), count).T


def _read_exactly(source: str, stream: Stream, size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise RecordError(f"{source} ends before its last value; it is damaged.")
    return content
