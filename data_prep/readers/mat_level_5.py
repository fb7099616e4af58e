"""Variables as MATLAB files of level 5 store them: typed elements within elements, of which some are compressed.

MATLAB writes this level by `-v6` and, compressed, by `-v7`.
"""

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Shaped

from data_prep.readers.mat_variables import (
    MAX_VARIABLES,
    Kind,
    Variable,
    damaged,
    label_of,
    read_stored,
    to_array,
)

PEEK = 2**12
"""Number of bytes at the beginning of a variable that hold its name and shape."""
_HEADER_BYTES, _ORDER_AT = 128, 124
_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
"""Byte order by the last four bytes of the header."""
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of stored values."""
_CHARACTERS = {1: "latin-1", 2: "latin-1", 3: "utf-16", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
"""Encodings of stored characters."""
_KINDS = {1: Kind.CELL, 2: Kind.STRUCT, 4: Kind.TEXT, 5: Kind.SPARSE, **dict.fromkeys(range(6, 16), Kind.NUMBERS)}
"""Kinds by the classes of matrices. All others are objects."""


class _Element(NamedTuple):
    """A typed element: its content is from `start` to before `stop`, and the next one begins at `after`."""

    type: int
    start: int
    stop: int
    after: int


class _Header(NamedTuple):
    kind: Kind
    shape: tuple[int, ...]
    name: str
    n_bytes: int
    """Size of the header."""


class _Stored(NamedTuple):
    """Bytes of a file that hold one variable, which may be compressed."""

    path: Path
    start: int
    size: int
    is_packed: bool

    def peek(self, stream: BinaryIO) -> bytes:
        content = stream.read(min(self.size, PEEK))
        return self.inflate(content, PEEK) if self.is_packed else content

    def load(self, n_skipped: int, n_bytes: int) -> memoryview:
        """Return all of the unpacked content, which must have so many bytes, without the first ones."""
        content = read_stored(self.path, self.start, self.size)
        if self.is_packed:
            content = self.inflate(content, n_bytes + 1)  # one more, so that zlib compares the checksum at the end
        if len(content) != n_bytes:
            raise damaged(self.path.name)
        return memoryview(content)[n_skipped:]

    def inflate(self, content: bytes, at_most: int) -> bytes:
        try:
            return zlib.decompressobj().decompress(content, at_most)
        except zlib.error as error:
            raise damaged(self.path.name) from error


@dataclass(frozen=True)
class Level5Variable(Variable):
    """A matrix, whose values are elements after its header."""

    def values(self) -> Shaped[np.ndarray, " value"]:
        content = self.content()
        element = _element(self.source, content, 0, self.order)
        return to_array(self, content[element.start : element.stop], _NUMBERS.get(element.type))

    def characters(self) -> str:
        content = self.content()
        if not math.prod(self.shape):
            return ""
        element = _element(self.source, content, 0, self.order)
        encoding = _CHARACTERS.get(element.type)
        if encoding is None:
            raise damaged(self.source)
        suffix = ("-le" if self.order == "<" else "-be") if encoding in ("utf-16", "utf-32") else ""
        return bytes(content[element.start : element.stop]).decode(encoding + suffix, "replace")

    def texts(self) -> list[str] | None:
        if self.kind is not Kind.CELL:
            return super().texts()
        content, n_cells = self.content(), math.prod(self.shape)
        if n_cells * 8 > len(content):  # each takes 8 bytes at least
            raise damaged(self.source)
        cells = list(self._matrices(content, 0, [""] * n_cells))
        if not all(cell.kind is Kind.TEXT and len(cell.shape) == 2 for cell in cells):
            return None
        return [" ".join(cell.rows()) for cell in cells]

    def fields(self) -> list[Variable]:
        content = self.content()
        length = _element(self.source, content, 0, self.order)
        names = _element(self.source, content, length.after, self.order)
        width = int.from_bytes(content[length.start : length.stop], "little" if self.order == "<" else "big")
        if not 0 < width <= PEEK or names.stop - names.start > width * MAX_VARIABLES:
            raise damaged(self.source)
        text = bytes(content[names.start : names.stop])
        fields = [text[at : at + width].split(b"\0")[0].decode("latin-1") for at in range(0, len(text), width)]
        return list(self._matrices(content, names.after, fields))

    def _matrices(self, content: memoryview, at: int, names: list[str]) -> Iterator[Variable]:
        """Yield the matrices from an index on, one for each name. Those without any content are left out."""
        for number, name in enumerate(names, 1):
            element = _element(self.source, content, at, self.order)
            if element.type != _MATRIX:
                raise damaged(self.source)
            at = element.after
            if element.stop > element.start:
                inner = content[element.start : element.stop]
                header = _read_header(self.source, inner, self.order)
                label, load = label_of(name, number, self), _loaded(inner[header.n_bytes :])
                yield Level5Variable(
                    self.source, name, self.name, label, header.kind, header.shape, len(inner), self.order, load
                )


def is_level_5(head: bytes) -> bool:
    """Return whether a file that begins like this is of level 5."""
    return head.startswith(b"MATLAB") and head[_ORDER_AT:_HEADER_BYTES] in _ORDERS


def variables_of(path: Path, stream: BinaryIO, size: int) -> Iterator[Variable]:
    """Yield the variables of a file, which has `size` bytes.

    Raises:
        RecordError: it is damaged.
    """
    stream.seek(_ORDER_AT)
    order = _ORDERS[stream.read(_HEADER_BYTES - _ORDER_AT)]
    at, number = _HEADER_BYTES, 0
    while at < size:
        number += 1
        stream.seek(at)
        tag = stream.read(8)
        if len(tag) < 8:
            raise damaged(path.name)
        kind, n_bytes = struct.unpack(f"{order}II", tag)
        if kind not in (_MATRIX, _COMPRESSED) or at + 8 + n_bytes > size:
            raise damaged(path.name)
        yield _variable(_Stored(path, at + 8, n_bytes, kind == _COMPRESSED), stream, number, order)
        at += 8 + n_bytes


def _variable(stored: _Stored, stream: BinaryIO, number: int, order: str) -> Variable:
    source, content, n_skipped, n_bytes = stored.path.name, memoryview(stored.peek(stream)), 0, stored.size
    if stored.is_packed:
        if len(content) < 8:
            raise damaged(source)
        kind, n_bytes = struct.unpack_from(f"{order}II", content)
        if kind != _MATRIX:
            raise damaged(source)
        n_skipped, n_bytes = 8, n_bytes + 8
    header = _read_header(source, content[n_skipped:], order)
    label, load = label_of(header.name, number), partial(stored.load, n_skipped + header.n_bytes, n_bytes)
    return Level5Variable(source, header.name, None, label, header.kind, header.shape, n_bytes, order, load)


def _read_header(source: str, content: memoryview, order: str) -> _Header:
    """Return the header at the beginning of a matrix."""
    flags = _element(source, content, 0, order)
    if flags.stop - flags.start != 8:
        raise damaged(source)
    (word,) = struct.unpack_from(f"{order}I", content, flags.start)
    kind = _KINDS.get(word & 0xFF, Kind.OBJECT)
    if kind is Kind.OBJECT:  # some have no shape
        return _Header(kind, (), "", flags.after)
    dimensions = _element(source, content, flags.after, order)
    n = (dimensions.stop - dimensions.start) // 4
    shape = struct.unpack_from(f"{order}{n}i", content, dimensions.start)
    name = _element(source, content, dimensions.after, order)
    if not 2 <= n <= 32 or min(shape) < 0:
        raise damaged(source)
    if kind is Kind.NUMBERS and word & 0xA00:
        kind = Kind.COMPLEX if word & 0x800 else Kind.LOGICAL
    return _Header(kind, shape, bytes(content[name.start : name.stop]).decode("latin-1"), name.after)


def _element(source: str, content: memoryview, at: int, order: str) -> _Element:
    """Return the element at an index. Those of up to 4 bytes are packed into the 8 bytes of their tag."""
    if at + 8 > len(content):
        raise damaged(source)
    first, size = struct.unpack_from(f"{order}II", content, at)
    start, after = at + 8, at + 8 + size + -size % 8
    if first >> 16:
        first, size, start, after = first & 0xFFFF, first >> 16, at + 4, at + 8
    if start + size > len(content) or (start == at + 4 and size > 4):
        raise damaged(source)
    return _Element(first, start, start + size, after)


def _loaded(content: memoryview) -> Callable[[], memoryview]:
    return lambda: content
