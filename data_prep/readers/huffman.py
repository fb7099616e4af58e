"""Huffman codes of SCP-ECG (EN 1064, section 2 and appendix C)."""

import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from data_prep.record import RecordError

ENTRY = struct.Struct("<BBBhI")
"""Code in a file: bits of the prefix, bits in all, whether it is a value, its value, and the prefix, first bit last."""


MOST_CODES = 1024
"""Largest number of codes of a table, and of tables. Files have some twenty."""


class Code(NamedTuple):
    """Meaning of a prefix."""

    n_extra: int
    """Number of bits after the prefix, which hold a signed number."""
    is_value: bool
    """Whether it is a value. Otherwise the table of this number, from 1, is used from here on."""
    value: int


class Table:
    """Codes by the bits of their prefixes."""

    def __init__(self, codes: dict[str, Code]) -> None:
        self.codes = list(codes.values())
        self.longest = max(len(prefix) + code.n_extra for prefix, code in codes.items())
        self.pattern = re.compile("|".join(f"({prefix}[01]{{{code.n_extra}}})" for prefix, code in codes.items()))


def _default() -> Table:
    codes = {"0": Code(0, True, 0), "1" * 9 + "0": Code(8, True, 0), "1" * 10: Code(16, True, 0)}
    for size in range(1, 9):
        codes["1" * size + "00"] = Code(0, True, size)
        codes["1" * size + "01"] = Code(0, True, -size)
    return Table(codes)


DEFAULT: Table = _default()
"""Table that files mean by the number 19999."""


def read_tables(name: str, section: bytes, count: int) -> list[Table]:
    """Return the tables of a section 2 that begins with their number.

    Raises:
        RecordError: there are none, or they end too early.
    """
    tables, start = list[Table](), 2
    for _ in range(min(count, MOST_CODES)):
        n_codes = int.from_bytes(section[start : start + 2], "little")
        start += 2
        if not 0 < n_codes <= MOST_CODES or start + n_codes * ENTRY.size > len(section):
            raise RecordError(f"{name}: a Huffman table is empty or cut off; it is damaged.")
        entries = (ENTRY.unpack_from(section, start + i * ENTRY.size) for i in range(n_codes))
        tables.append(Table(dict(_code(name, *entry) for entry in entries)))
        start += n_codes * ENTRY.size
    if not tables:
        raise RecordError(f"{name}: section 2 holds no Huffman table; it is damaged.")
    return tables


def _code(name: str, n_prefix: int, n_bits: int, mode: int, value: int, prefix: int) -> tuple[str, Code]:
    n_prefix, n_bits = sorted((n_prefix, n_bits))
    if not 1 <= n_prefix <= 32 or n_bits - n_prefix > 32:
        raise RecordError(f"{name}: a Huffman code has an impossible length; it is damaged.")
    return f"{prefix & (2**n_prefix - 1):0{n_prefix}b}"[::-1], Code(n_bits - n_prefix, mode == 1, value)


def decode(name: str, stored: bytes, count: int, tables: Sequence[Table]) -> Int64[np.ndarray, " time"]:
    """Return `count` values, or fewer if the bits end before.

    Raises:
        RecordError: bits are not a code of the table, or a table is missing.
    """
    bits = "".join(f"{byte:08b}" for byte in stored)
    values: list[int] = []
    table, position = tables[0], 0
    while len(values) < count and position < len(bits):
        match = table.pattern.match(bits, position)
        if match is None or match.lastindex is None:
            if len(bits) - position < table.longest:
                break  # what fills the last byte
            raise RecordError(f"{name}: the bits of a lead are not a Huffman code; it is damaged.")
        code, end = table.codes[match.lastindex - 1], match.end()
        if code.is_value:
            values.append(code.value + _signed(bits[end - code.n_extra : end]))
        elif 1 <= code.value <= len(tables):
            table = tables[code.value - 1]
        else:
            raise RecordError(f"{name}: a Huffman code leads to a table that is not there; it is damaged.")
        position = end
    return np.array(values, np.int64)


def _signed(bits: str) -> int:
    if not bits:
        return 0
    value = int(bits, 2)
    return value - (1 << len(bits)) if bits[0] == "1" else value
