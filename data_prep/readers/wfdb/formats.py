"""Storage formats of WFDB samples: bytes to whole numbers.

To add a format, add a line to FORMATS. The formats: https://wfdb.io/spec/signal-files.html
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

Decode = Callable[[bytes], Integer[np.ndarray, " sample"]]


@dataclass(frozen=True)
class SampleFormat:
    """Storage of samples in a file."""

    invalid: int
    """Value of a missing sample."""
    bits: float
    """Bits of a sample, or the largest resolution of a compressed one."""
    decode: Decode | None = None
    """Function from bytes to samples, including padding. None where FLAC compresses them."""
    block: int = 1
    """Number of bytes that are decoded together. A file may end with padding to a whole block."""


def _as(dtype: str) -> Decode:
    return lambda content: np.frombuffer(content, dtype)


def _in_blocks(content: bytes, size: int) -> bytes:
    """Pad the last block with zeros."""
    return content + bytes(-len(content) % size)


def _decode_24(content: bytes) -> Integer[np.ndarray, " sample"]:
    wide = np.zeros((len(content) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
    return wide.view("<i4").ravel() >> 8


def _decode_80(content: bytes) -> Integer[np.ndarray, " sample"]:
    return np.frombuffer(content, np.uint8).astype(np.int16) - 128


def _decode_160(content: bytes) -> Integer[np.ndarray, " sample"]:
    return (np.frombuffer(content, "<u2") ^ 0x8000).view("<i2")


def _decode_212(content: bytes) -> Integer[np.ndarray, " sample"]:
    low, both, high = np.frombuffer(_in_blocks(content, 3), np.uint8).reshape(-1, 3).T.astype(np.int16)
    return _signed(np.stack([low | (both & 15) << 8, high | both >> 4 << 8], axis=1), 12)


def _decode_310(content: bytes) -> Integer[np.ndarray, " sample"]:
    low, high = np.frombuffer(_in_blocks(content, 4), "<u2").reshape(-1, 2).T
    return _signed(np.stack([low >> 1, high >> 1, low >> 11 | high >> 11 << 5], axis=1), 10)


def _decode_311(content: bytes) -> Integer[np.ndarray, " sample"]:
    words = np.frombuffer(_in_blocks(content, 4), "<u4")
    return _signed(np.stack([words, words >> 10, words >> 20], axis=1), 10)


def _signed(values: Integer[np.ndarray, "block n"], bits: int) -> Integer[np.ndarray, " sample"]:
    """Return the lowest `bits` of each value as two's complement."""
    return (values.ravel().astype(np.uint16) << (16 - bits)).view(np.int16) >> (16 - bits)


DIFFERENCES = 8
"""Format that stores the difference of each sample from the one before it."""
FORMATS = {
    DIFFERENCES: SampleFormat(-(2**31), 8, _as("i1")),  # no sample has this value: the format marks none as missing
    16: SampleFormat(-(2**15), 16, _as("<i2")),
    24: SampleFormat(-(2**23), 24, _decode_24),
    32: SampleFormat(-(2**31), 32, _as("<i4")),
    61: SampleFormat(-(2**15), 16, _as(">i2")),
    80: SampleFormat(-(2**7), 8, _decode_80),
    160: SampleFormat(-(2**15), 16, _decode_160),
    212: SampleFormat(-(2**11), 12, _decode_212, block=3),
    310: SampleFormat(-(2**9), 32 / 3, _decode_310, block=4),
    311: SampleFormat(-(2**9), 32 / 3, _decode_311, block=4),
    508: SampleFormat(-(2**7), 8),
    516: SampleFormat(-(2**15), 16),
    524: SampleFormat(-(2**23), 24),
}
"""The formats by their numbers."""
