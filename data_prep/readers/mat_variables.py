"""Variables of MATLAB files, whatever their level: kinds, names in messages, and values, loaded within bounds.

`scipy.io.loadmat` is not used: cells nested 20,000 deep, in a file of 1 MB, end the process, and it loads all fields of
a struct. Here the headers of variables are read, and the values of those that are asked for. Sizes are checked before
anything is unpacked. `mat_level_4` and `mat_level_5` have the two ways in which they are stored.

The format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from data_prep.record import RecordError

MAX_BYTES = 2**30
"""Largest variable that is loaded, in bytes: 24 hours of 12 leads at 500 Hz in 16 bits."""
MAX_VARIABLES = 4096
"""Largest number of variables in a file."""
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


@dataclass(frozen=True)
class Variable(ABC):
    """A variable or a field of a struct, whose values are loaded when they are asked for."""

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

    def __str__(self) -> str:
        return f"{self.label} ({' x '.join(map(str, self.shape))})"

    def content(self) -> memoryview:
        """Load what follows the header. Raise RecordError if it is larger than MAX_BYTES, or damaged."""
        if self.n_bytes > MAX_BYTES:
            raise RecordError(
                f"{self.source}: {self.label} takes {self.n_bytes} bytes, more than {MAX_BYTES}; the number is "
                "damaged, or the recording must be cut first."
            )
        return self.load()

    @abstractmethod
    def values(self) -> Shaped[np.ndarray, " value"]:
        """Return the numbers in the order of the file."""

    @abstractmethod
    def characters(self) -> str:
        """Return the characters of a text in the order of the file."""

    def numbers(self) -> Shaped[np.ndarray, "..."]:
        """Return the values of an array of numbers, in its shape."""
        return self.values().reshape(self.shape, order="F")

    def texts(self) -> list[str] | None:
        """Return the rows of a matrix of characters, or the texts in a cell array; None for anything else."""
        return self.rows() if self.kind is Kind.TEXT and len(self.shape) == 2 else None

    def rows(self) -> list[str]:
        """Return the rows of a matrix of characters."""
        text, (n_rows, n_columns) = self.characters(), self.shape
        if len(text) != n_rows * n_columns:
            raise damaged(self.source)
        return [text[row::n_rows].strip(" \0") for row in range(n_rows)]

    def fields(self) -> "list[Variable]":
        """Return the fields of a struct that is not an array of structs. Only level 5 has structs."""
        return []


def to_array(variable: Variable, content: memoryview, dtype: str | None) -> Shaped[np.ndarray, " value"]:
    """Return stored numbers as an array. Raise RecordError if their type is none, or they do not fit the shape."""
    if dtype is None or len(content) != math.prod(variable.shape) * np.dtype(dtype).itemsize:
        raise damaged(variable.source)
    return np.frombuffer(content, np.dtype(f"{variable.order}{dtype}"))


def read_stored(path: Path, start: int, size: int) -> bytes:
    """Return so many bytes of a file from `start` on. Raise RecordError if they are too many, or not there."""
    if size > MAX_BYTES:
        raise damaged(path.name)
    with path.open("rb") as stream:
        stream.seek(start)
        content = stream.read(size)
    if len(content) != size:
        raise damaged(path.name)
    return content


def damaged(source: str) -> RecordError:
    """Return the error for a file that breaks the rules of its level."""
    return RecordError(f"{source} is not a valid MATLAB file; it is damaged or cut off.")


def label_of(name: str, number: int, parent: Variable | None = None) -> str:
    """Return the name of a variable in quotes, or its number where the name may be a patient's."""
    is_ordinary = _ORDINARY.fullmatch(name) is not None
    if parent is None:
        return f"'{name}'" if is_ordinary else f"variable {number}"
    if is_ordinary and parent.label.startswith("'"):
        return f"'{parent.name}.{name}'"
    return f"field {number} of {parent.label}"
