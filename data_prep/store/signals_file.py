"""Writer of signals.npy: rows of int16 microvolts, in any order."""

import io
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int16

SAMPLE = np.dtype(np.int16)


@dataclass(frozen=True)
class SignalsFile:
    """An .npy file of `n_records` rows that already has its full size.

    Plain writes are used: through a memory map, a full disk would end the process with a bus error.
    """

    path: Path
    row_shape: tuple[int, int]
    header_bytes: int

    @property
    def row_bytes(self) -> int:
        return self.row_shape[0] * self.row_shape[1] * SAMPLE.itemsize

    def write(self, first: int, rows: Int16[np.ndarray, "record lead time"]) -> int:
        """Write rows from number `first` on, and return their CRC-32."""
        with self.path.open("r+b") as file:
            file.seek(self.header_bytes + first * self.row_bytes)
            file.write(rows.data)
        return zlib.crc32(rows.data)

    def crc32(self, first: int, n_rows: int) -> int:
        with self.path.open("rb") as file:
            file.seek(self.header_bytes + first * self.row_bytes)
            return zlib.crc32(file.read(n_rows * self.row_bytes))

    def close(self, kept: Sequence[int], n_records: int) -> None:
        """Move the kept rows to the front, cut the file after them, and flush it to disk."""
        with self.path.open("r+b") as file:
            for new, old in enumerate(kept if len(kept) < n_records else ()):
                if new == old:
                    continue
                file.seek(self.header_bytes + old * self.row_bytes)
                row = file.read(self.row_bytes)
                file.seek(self.header_bytes + new * self.row_bytes)
                file.write(row)
            write_header(file, (len(kept), *self.row_shape))  # NumPy reserves space for any number of rows
            file.truncate(self.header_bytes + len(kept) * self.row_bytes)
            file.flush()
            os.fsync(file.fileno())


def open_signals_file(path: Path, n_records: int, row_shape: tuple[int, int]) -> SignalsFile:
    """Open a file of that many rows and keep its existing rows. On a full disk raise OSError and leave no file.

    A file of the right size is not allocated again: other processes may be writing rows, and where the file system
    cannot allocate, the C library writes bytes that it has read before.
    """
    path.touch()
    with path.open("r+b") as file:
        header_bytes = write_header(file, (n_records, *row_shape))
        signals = SignalsFile(path, row_shape, header_bytes)
        size = header_bytes + n_records * signals.row_bytes
        if path.stat().st_size == size:
            return signals
        try:
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):  # so that a full disk is noticed now
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError:
            path.unlink()
            raise
    return signals


def write_header(file: io.BufferedRandom, shape: tuple[int, ...]) -> int:
    file.seek(0)
    header = {"descr": np.lib.format.dtype_to_descr(SAMPLE), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()
