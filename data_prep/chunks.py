"""A chunk of records on its way from files into rows of signals.npy; the part of preparing that workers do."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int16

from data_prep.preprocess import STANDARD_LEADS, Preprocess
from data_prep.readers import read_record
from data_prep.record import RecordError

RECORDS_A_CHUNK = 64
MICROVOLTS_A_MILLIVOLT = 1000
MOST_MICROVOLTS = 32767


@dataclass(frozen=True)
class Job:
    """Where the records of a chunk come from and where they go."""

    folder: Path
    signals: Path
    preprocess: Preprocess
    header_bytes: int
    """What stands before the first row."""

    @property
    def row_bytes(self) -> int:
        return len(STANDARD_LEADS) * self.preprocess.n_samples * np.dtype(np.int16).itemsize


@dataclass(frozen=True)
class Chunk:
    """What came of the rows `first` to `first + n_records - 1`."""

    first: int
    n_records: int
    crc32: int
    """Of the rows' bytes, failed ones being zero."""
    failures: tuple[tuple[int, str], ...]
    """(row, reason) of each record that could not be prepared."""
    warnings: tuple[tuple[int, str], ...]
    """(row, what was remarked) of each record that could, but not as it stands."""


def prepare_chunk(job: Job, first: int, files: Sequence[str]) -> Chunk:
    """Write the records' rows; raises OSError only where they cannot be written."""
    rows = np.zeros((len(files), len(STANDARD_LEADS), job.preprocess.n_samples), np.int16)
    failures, warnings = [], []
    for index, file in enumerate(files):
        try:
            record = read_record(job.folder / file)
            prepared = job.preprocess(record)
            rows[index] = to_microvolts(record.name, prepared.signal)
        except (RecordError, OSError) as error:
            failures.append((first + index, str(error)))
            continue
        if prepared.warnings:
            warnings.append((first + index, " ".join(prepared.warnings)))
    # Not through a memory map: on a full disk that ends the process with a bus error.
    with job.signals.open("r+b") as signals:
        signals.seek(job.header_bytes + first * job.row_bytes)
        signals.write(rows.data)
    return Chunk(first, len(files), zlib.crc32(rows.data), tuple(failures), tuple(warnings))


def is_intact(job: Job, chunk: Chunk) -> bool:
    """Whether the rows on disk are the ones that were written."""
    with job.signals.open("rb") as signals:
        signals.seek(job.header_bytes + chunk.first * job.row_bytes)
        return zlib.crc32(signals.read(chunk.n_records * job.row_bytes)) == chunk.crc32


def to_microvolts(name: str, signal: Float32[np.ndarray, "lead time"]) -> Int16[np.ndarray, "lead time"]:
    microvolts = np.rint(signal * MICROVOLTS_A_MILLIVOLT)
    most = np.abs(microvolts).max()
    if not most <= MOST_MICROVOLTS:  # not a number fails too
        raise RecordError(
            f"{name}: it reaches {most / MICROVOLTS_A_MILLIVOLT:.1f} mV; a prepared folder holds up to 32.767 mV. "
            f"The header's gain or unit is probably wrong."
        )
    return microvolts.astype(np.int16)
