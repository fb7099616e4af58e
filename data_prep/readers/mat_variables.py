"""Variables in MATLAB files of levels 4 and 5, read within bounds: sizes are checked before anything is unpacked.

`scipy.io.loadmat` is not used: cells nested 20,000 deep, in a file of 1 MB, end the process, and it loads all fields of
a struct. Here the headers of variables are read, and the values of those that are asked for.

The format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Shaped

from data_prep.readers.files import regular_size
from data_prep.record import RecordError

MAX_BYTES = 2**30
"""Largest variable that is loaded, in bytes: 24 hours of 12 leads at 500 Hz in 16 bits."""
MAX_VARIABLES = 4096
"""Largest number of variables in a file."""
PEEK = 2**12
"""Number of bytes at the beginning of a variable that hold its name and shape."""
_HEADER_BYTES = 128
_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
"""Byte order by the last four bytes of the header of level 5."""
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of stored values in level 5."""
_CHARACTERS = {1: "latin-1", 2: "latin-1", 3: "utf-16", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
"""Encodings of stored characters in level 5."""
_LEVEL_4_NUMBERS = ("f8", "f4", "i4", "i2", "u2", "u1")
_LEVEL_4_BYTES = 20
_IDENTIFIER = re.compile(rb"[A-Za-z][A-Za-z0-9_]*\0")
_WORDS = (
    r"channels?|data|e[ck]g|filtered|freq(?:uency)?|fs|leads?|matrix|rate|raw|record(?:ing)?s?|sampl(?:es?|ing)|"
    r"sig(?:nals?)?|units?|val(?:ues?)?|voltages?|x|y"
)
_ORDINARY = re.compile(rf"(?:(?:{_WORDS})_?){{1,6}}\d{{0,2}}", re.IGNORECASE | re.ASCII)
"""Names of variables that messages quote. Any other may be a patient's name or number."""


class Kind(StrEnum):
    """Kind of a variable, as messages name it."""

    NUMBERS = "array of numbers"
    LOGICAL = "logical array"
    TEXT = "text"
    CELL = "cell array"
    STRUCT = "struct"
    COMPLEX = "complex array"
    SPARSE = "sparse array"
    OBJECT = "object or function handle"


_KINDS = {1: Kind.CELL, 2: Kind.STRUCT, 4: Kind.TEXT, 5: Kind.SPARSE, **dict.fromkeys(range(6, 16), Kind.NUMBERS)}
"""Kinds by the classes of level 5. All others are objects."""


@dataclass(frozen=True)
class Variable:
    """A variable or a field of a struct, without its values."""

    source: str
    """Name of the file."""
    name: str
    parent: str | None
    """Name of the struct that it is a field of."""
    label: str
    """How messages name it."""
    kind: Kind
    shape: tuple[int, ...]
    n_bytes: int
    """Size of all of it, unpacked."""
    order: str
    """Byte order."""
    load: Callable[[], memoryview]
    """Function that returns what follows the header."""
    dtype: str | None = None
    """Type of the stored values where the header states it, which is so in level 4."""

    def __str__(self) -> str:
        return f"{self.label} ({' x '.join(map(str, self.shape))})"


class _Header(NamedTuple):
    kind: Kind
    shape: tuple[int, ...]
    name: str
    n_bytes: int
    """Size of the header."""


class _Element(NamedTuple):
    """A typed element of level 5: its content is from `start` to before `stop`, and the next one begins at `after`."""

    type: int
    start: int
    stop: int
    after: int


def is_level_5(head: bytes) -> bool:
    """Return whether a file that begins like this is of level 5, which MATLAB writes by `-v6` and `-v7`."""
    return head.startswith(b"MATLAB") and head[124:_HEADER_BYTES] in _ORDERS


def is_level_4(head: bytes) -> bool:
    """Return whether a file that begins like this is of level 4: the five numbers and the name of a variable fit."""
    return _is_variable_4(head) and all(struct.unpack_from(f"{_level_4_order(head)}2I", head, 4))


def _is_variable_4(head: bytes) -> bool:
    """Return whether a variable of level 4, which may be empty, begins like this."""
    order = _level_4_order(head)
    if order is None:
        return False
    kind, n_rows, n_columns, is_complex, n_name = struct.unpack_from(f"{order}5I", head)
    is_plain = kind % 1000 < 100 and kind // 10 % 10 < len(_LEVEL_4_NUMBERS) and kind % 10 < 3 and is_complex < 2
    is_matrix = n_rows < 2**31 and n_columns < 2**31
    name = head[_LEVEL_4_BYTES : _LEVEL_4_BYTES + n_name]
    return is_plain and is_matrix and 2 <= n_name <= 64 and _IDENTIFIER.fullmatch(name) is not None


def _level_4_order(head: bytes) -> str | None:
    if len(head) < _LEVEL_4_BYTES:
        return None
    little, big = int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
    return "<" if little < 1000 else ">" if 1000 <= big < 2000 else None


def list_variables(path: Path) -> list[Variable]:
    """Return the variables of a file.

    Raises:
        RecordError: it is damaged, or holds more than MAX_VARIABLES.
    """
    size = regular_size(path)
    with path.open("rb") as stream:
        head = stream.read(_HEADER_BYTES)
        found = _walk_5(path, stream, size, _ORDERS[head[124:]]) if is_level_5(head) else _walk_4(path, stream, size)
        variables = []
        for variable in found:
            variables.append(variable)
            if len(variables) > MAX_VARIABLES:
                raise RecordError(f"{path.name} holds more than {MAX_VARIABLES} variables; save the recording alone.")
    return variables


def list_fields(variable: Variable) -> list[Variable]:
    """Return the fields of a struct that is not an array of structs. Fields of those are not listed."""
    source, content, order = variable.source, _load(variable), variable.order
    length = _element(source, content, 0, order)
    names = _element(source, content, length.after, order)
    width = int.from_bytes(content[length.start : length.stop], "little" if order == "<" else "big")
    if not 0 < width <= PEEK or names.stop - names.start > width * MAX_VARIABLES:
        raise _damaged(source)
    text = bytes(content[names.start : names.stop])
    fields = [text[at : at + width].split(b"\0")[0].decode("latin-1") for at in range(0, len(text), width)]
    return list(_matrices(variable, content, names.after, fields))


def to_numbers(variable: Variable) -> Shaped[np.ndarray, "..."]:
    """Return the values of an array of numbers, in its shape."""
    return _values(variable).reshape(variable.shape, order="F")


def to_texts(variable: Variable) -> list[str] | None:
    """Return the rows of a matrix of characters, or the texts in a cell array; None for anything else."""
    if variable.kind is Kind.TEXT and len(variable.shape) == 2:
        return _rows(variable)
    if variable.kind is not Kind.CELL:
        return None
    content, n_cells = _load(variable), math.prod(variable.shape)
    if n_cells * 8 > len(content):  # each takes 8 bytes at least
        raise _damaged(variable.source)
    cells = list(_matrices(variable, content, 0, [""] * n_cells))
    if not all(cell.kind is Kind.TEXT and len(cell.shape) == 2 for cell in cells):
        return None
    return [" ".join(_rows(cell)) for cell in cells]


def _rows(variable: Variable) -> list[str]:
    text, (n_rows, n_columns) = _characters(variable), variable.shape
    if len(text) != n_rows * n_columns:
        raise _damaged(variable.source)
    return [text[row::n_rows].strip(" \0") for row in range(n_rows)]


def _characters(variable: Variable) -> str:
    if variable.dtype is not None:  # level 4 stores the characters' codes as numbers
        codes = np.clip(np.nan_to_num(_values(variable)), 0, 0xD7FF).astype(int)
        return "".join(map(chr, codes.tolist()))
    content = _load(variable)
    if not math.prod(variable.shape):
        return ""
    element = _element(variable.source, content, 0, variable.order)
    encoding = _CHARACTERS.get(element.type)
    if encoding is None:
        raise _damaged(variable.source)
    suffix = ("-le" if variable.order == "<" else "-be") if encoding in ("utf-16", "utf-32") else ""
    return bytes(content[element.start : element.stop]).decode(encoding + suffix, "replace")


def _values(variable: Variable) -> Shaped[np.ndarray, " value"]:
    content, kind = _load(variable), variable.dtype
    if kind is None:
        element = _element(variable.source, content, 0, variable.order)
        content, kind = content[element.start : element.stop], _NUMBERS.get(element.type)
    if kind is None or len(content) != math.prod(variable.shape) * np.dtype(kind).itemsize:
        raise _damaged(variable.source)
    return np.frombuffer(content, np.dtype(f"{variable.order}{kind}"))


def _load(variable: Variable) -> memoryview:
    if variable.n_bytes > MAX_BYTES:
        raise RecordError(
            f"{variable.source}: {variable.label} takes {variable.n_bytes} bytes, more than {MAX_BYTES}; the number is "
            "damaged, or the recording must be cut first."
        )
    return variable.load()


def _damaged(source: str) -> RecordError:
    return RecordError(f"{source} is not a valid MATLAB file; it is damaged or cut off.")


def _label(name: str, number: int, parent: Variable | None = None) -> str:
    """Return the name of a variable in quotes, or its number where the name may be a patient's."""
    is_ordinary = _ORDINARY.fullmatch(name) is not None
    if parent is None:
        return f"'{name}'" if is_ordinary else f"variable {number}"
    if is_ordinary and parent.label.startswith("'"):
        return f"'{parent.name}.{name}'"
    return f"field {number} of {parent.label}"


# Level 5


def _element(source: str, content: memoryview, at: int, order: str) -> _Element:
    """Return the element at an index. Those of up to 4 bytes are packed into the 8 bytes of their tag."""
    if at + 8 > len(content):
        raise _damaged(source)
    first, size = struct.unpack_from(f"{order}II", content, at)
    start, after = at + 8, at + 8 + size + -size % 8
    if first >> 16:
        first, size, start, after = first & 0xFFFF, first >> 16, at + 4, at + 8
    if start + size > len(content) or (start == at + 4 and size > 4):
        raise _damaged(source)
    return _Element(first, start, start + size, after)


def _read_header(source: str, content: memoryview, order: str) -> _Header:
    """Return the header at the beginning of a matrix."""
    flags = _element(source, content, 0, order)
    if flags.stop - flags.start != 8:
        raise _damaged(source)
    (word,) = struct.unpack_from(f"{order}I", content, flags.start)
    kind = _KINDS.get(word & 0xFF, Kind.OBJECT)
    if kind is Kind.OBJECT:  # some have no shape
        return _Header(kind, (), "", flags.after)
    dimensions = _element(source, content, flags.after, order)
    n = (dimensions.stop - dimensions.start) // 4
    shape = struct.unpack_from(f"{order}{n}i", content, dimensions.start)
    name = _element(source, content, dimensions.after, order)
    if not 2 <= n <= 32 or min(shape) < 0:
        raise _damaged(source)
    if kind is Kind.NUMBERS and word & 0xA00:
        kind = Kind.COMPLEX if word & 0x800 else Kind.LOGICAL
    return _Header(kind, shape, bytes(content[name.start : name.stop]).decode("latin-1"), name.after)


def _matrices(parent: Variable, content: memoryview, at: int, names: list[str]) -> Iterator[Variable]:
    """Yield the matrices from an index on, one for each name. Those without any content are left out."""
    for number, name in enumerate(names, 1):
        element = _element(parent.source, content, at, parent.order)
        if element.type != _MATRIX:
            raise _damaged(parent.source)
        at = element.after
        if element.stop > element.start:
            inner = content[element.start : element.stop]
            header = _read_header(parent.source, inner, parent.order)
            label = _label(name, number, parent)
            load = _loaded(inner[header.n_bytes :])
            yield Variable(
                parent.source, name, parent.name, label, header.kind, header.shape, len(inner), parent.order, load
            )


def _loaded(content: memoryview) -> Callable[[], memoryview]:
    return lambda: content


def _walk_5(path: Path, stream: BinaryIO, size: int, order: str) -> Iterator[Variable]:
    at, number = _HEADER_BYTES, 0
    while at < size:
        number += 1
        stream.seek(at)
        tag = stream.read(8)
        if len(tag) < 8:
            raise _damaged(path.name)
        kind, n_bytes = struct.unpack(f"{order}II", tag)
        if kind not in (_MATRIX, _COMPRESSED) or at + 8 + n_bytes > size:
            raise _damaged(path.name)
        yield _variable_5(_Stored(path, at + 8, n_bytes, kind == _COMPRESSED, order), stream, number)
        at += 8 + n_bytes


class _Stored(NamedTuple):
    """Bytes of a file that hold one variable, which may be compressed."""

    path: Path
    start: int
    size: int
    is_packed: bool
    order: str

    def peek(self, stream: BinaryIO) -> bytes:
        content = stream.read(min(self.size, PEEK))
        return self.inflate(content, PEEK) if self.is_packed else content

    def load(self, n_skipped: int, n_bytes: int) -> memoryview:
        """Return all of the unpacked content, which must have so many bytes, without the first ones."""
        if self.size > MAX_BYTES:
            raise _damaged(self.path.name)
        with self.path.open("rb") as stream:
            stream.seek(self.start)
            content = stream.read(self.size)
        if self.is_packed:
            content = self.inflate(content, n_bytes + 1)  # one more, so that zlib compares the checksum at the end
        if len(content) != n_bytes:
            raise _damaged(self.path.name)
        return memoryview(content)[n_skipped:]

    def inflate(self, content: bytes, at_most: int) -> bytes:
        try:
            return zlib.decompressobj().decompress(content, at_most)
        except zlib.error as error:
            raise _damaged(self.path.name) from error


def _variable_5(stored: _Stored, stream: BinaryIO, number: int) -> Variable:
    source, content, n_skipped, n_bytes = stored.path.name, memoryview(stored.peek(stream)), 0, stored.size
    if stored.is_packed:
        if len(content) < 8:
            raise _damaged(source)
        kind, n_bytes = struct.unpack_from(f"{stored.order}II", content)
        if kind != _MATRIX:
            raise _damaged(source)
        n_skipped, n_bytes = 8, n_bytes + 8
    header = _read_header(source, content[n_skipped:], stored.order)
    n_skipped += header.n_bytes

    def load() -> memoryview:
        return stored.load(n_skipped, n_bytes)

    label = _label(header.name, number)
    return Variable(source, header.name, None, label, header.kind, header.shape, n_bytes, stored.order, load)


# Level 4


def _walk_4(path: Path, stream: BinaryIO, size: int) -> Iterator[Variable]:
    at, number = 0, 0
    while at < size:
        number += 1
        stream.seek(at)
        head = stream.read(_LEVEL_4_BYTES + 64)
        if not _is_variable_4(head):
            raise _damaged(path.name)
        order = _level_4_order(head) or "<"
        kind, n_rows, n_columns, is_complex, n_name = struct.unpack_from(f"{order}5I", head)
        dtype = _LEVEL_4_NUMBERS[kind // 10 % 10]
        n_bytes = n_rows * n_columns * np.dtype(dtype).itemsize * (1 + is_complex)
        start = at + _LEVEL_4_BYTES + n_name
        at = start + n_bytes
        if at > size:
            raise _damaged(path.name)
        name = head[_LEVEL_4_BYTES : _LEVEL_4_BYTES + n_name - 1].decode("ascii")
        stored = _Stored(path, start, n_bytes, is_packed=False, order=order)
        yield _variable_4(stored, (n_rows, n_columns), name, number, dtype, kind % 10, bool(is_complex))


def _variable_4(
    stored: _Stored, shape: tuple[int, int], name: str, number: int, dtype: str, kind: int, is_complex: bool
) -> Variable:
    def load() -> memoryview:
        return stored.load(0, stored.size)

    what = Kind.COMPLEX if is_complex else (Kind.NUMBERS, Kind.TEXT, Kind.SPARSE)[kind]
    label = _label(name, number)
    return Variable(stored.path.name, name, None, label, what, shape, stored.size, stored.order, load, dtype)
