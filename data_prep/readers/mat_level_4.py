"""Variables as MATLAB files of level 4 store them: five numbers, a name, and the values, one variable after another."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Shaped

from data_prep.readers.mat_variables import Kind, Variable, damaged, label_of, read_stored, to_array

_HEADER_BYTES = 20
_MAX_NAME = 64
_NUMBERS = ("f8", "f4", "i4", "i2", "u2", "u1")
"""Types of stored values by their digit in the first number."""
_IDENTIFIER = re.compile(rb"[A-Za-z][A-Za-z0-9_]*\0")
_KINDS = (Kind.NUMBERS, Kind.TEXT, Kind.SPARSE)
_LAST_CHARACTER = 0xD7FF
"""Last code before those that are no characters of their own."""


@dataclass(frozen=True)
class Level4Variable(Variable):
    """A variable whose header states the type of its values."""

    dtype: str

    def values(self) -> Shaped[np.ndarray, " value"]:
        return to_array(self, self.content(), self.dtype)

    def characters(self) -> str:
        """Return the characters, whose codes are stored as numbers."""
        codes = np.clip(np.nan_to_num(self.values()), 0, _LAST_CHARACTER).astype(int)
        return "".join(map(chr, codes.tolist()))


def is_level_4(head: bytes) -> bool:
    """Return whether a file that begins like this is of level 4: the five numbers and the name of a variable fit."""
    return _begins_variable(head) and all(struct.unpack_from(f"{_order(head)}2I", head, 4))


def variables_of(path: Path, stream: BinaryIO, size: int) -> Iterator[Variable]:
    """Yield the variables of a file, which has `size` bytes.

    Raises:
        RecordError: it is damaged.
    """
    at, number = 0, 0
    while at < size:
        number += 1
        stream.seek(at)
        head = stream.read(_HEADER_BYTES + _MAX_NAME)
        if not _begins_variable(head):
            raise damaged(path.name)
        order = _order(head) or "<"
        code, n_rows, n_columns, is_complex, n_name = struct.unpack_from(f"{order}5I", head)
        dtype = _NUMBERS[code // 10 % 10]
        n_bytes = n_rows * n_columns * np.dtype(dtype).itemsize * (1 + is_complex)
        start = at + _HEADER_BYTES + n_name
        at = start + n_bytes
        if at > size:
            raise damaged(path.name)
        name = head[_HEADER_BYTES : _HEADER_BYTES + n_name - 1].decode("ascii")
        label, kind = label_of(name, number), Kind.COMPLEX if is_complex else _KINDS[code % 10]
        load = partial(_load, path, start, n_bytes)
        yield Level4Variable(path.name, name, None, label, kind, (n_rows, n_columns), n_bytes, order, load, dtype)


def _load(path: Path, start: int, n_bytes: int) -> memoryview:
    return memoryview(read_stored(path, start, n_bytes))


def _begins_variable(head: bytes) -> bool:
    """Return whether a variable, which may be empty, begins like this."""
    order = _order(head)
    if order is None:
        return False
    code, n_rows, n_columns, is_complex, n_name = struct.unpack_from(f"{order}5I", head)
    is_plain = code % 1000 < 100 and code // 10 % 10 < len(_NUMBERS) and code % 10 < len(_KINDS) and is_complex < 2
    is_matrix = n_rows < 2**31 and n_columns < 2**31
    name = head[_HEADER_BYTES : _HEADER_BYTES + n_name]
    return is_plain and is_matrix and 2 <= n_name <= _MAX_NAME and _IDENTIFIER.fullmatch(name) is not None


def _order(head: bytes) -> str | None:
    """Return the byte order of the numbers at the beginning of a variable, or None if they are none."""
    if len(head) < _HEADER_BYTES:
        return None
    little, big = int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
    return "<" if little < 1000 else ">" if 1000 <= big < 2000 else None
