"""JSON documents, read within bounds, whose parts may be of any type."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from data_prep.readers.files import read_bytes
from data_prep.record import RecordError

MAX_BYTES = 2**26
"""Largest document."""


def begins_object(head: bytes) -> bool:
    """Return whether a file that begins like this may be an object of JSON."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def read_json(path: Path) -> Any:
    """Return what a document holds.

    Raises:
        RecordError: the file is larger than MAX_BYTES, or is not valid JSON.
    """
    try:
        return json.loads(read_bytes(path, MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path.name} is not valid JSON; it is damaged or cut off.") from error


def entry(tree: Any, key: str) -> Any:
    """Return an entry of an object; None if it has none, or is not an object."""
    return tree.get(key) if isinstance(tree, dict) else None


def is_number(value: Any) -> bool:
    """Return whether a value is a number, and none that a computation makes infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def numbers(name: str, values: Any) -> Float64[np.ndarray, " time"]:
    """Return the numbers of a list, with NaN for null.

    Raises:
        RecordError: it is not a list, or something else is among them.
    """
    if not isinstance(values, list) or not all(value is None or is_number(value) for value in values):
        raise RecordError(f"{name}: the samples of a lead are not a list of numbers; it is damaged.")
    return np.array([np.nan if value is None else value for value in values], np.float64)
