"""Preparation of a chunk of records, from files to rows of signals.npy. Workers run it in parallel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int16

from data_prep.leads import STANDARD_LEADS
from data_prep.places import File
from data_prep.preprocess import Preprocess
from data_prep.quality import Severity
from data_prep.readers import ReadOptions, read_record
from data_prep.record import RecordError
from data_prep.store.signals_file import SignalsFile
from data_prep.units import HIGHEST, LARGEST_SAMPLE, MICROVOLTS

RECORDS_A_CHUNK = 64


@dataclass(frozen=True)
class Preparation:
    """Input, preprocessing and output that all chunks of a preparation have in common."""

    folder: File
    preprocess: Preprocess
    signals: SignalsFile
    options: ReadOptions


@dataclass(frozen=True)
class Chunk:
    """Result of preparing the rows `first` to `first + n_records - 1`."""

    first: int
    n_records: int
    crc32: int
    """Checksum of the rows' bytes. Rows of failed records are zero."""
    failures: tuple[tuple[int, str], ...]
    """(row, reason) of each record that could not be prepared."""
    warnings: tuple[tuple[int, str], ...]
    """(row, warnings) of each record that was prepared with warnings."""
    losses: tuple[tuple[int, str], ...]
    """(row, `record` or `lead`) of each record that lost its voltage scale."""
    undecided: tuple[tuple[int, str], ...]
    """(row, codes) of each record on whose prediction no decision would be made."""

    def is_intact(self, signals: SignalsFile) -> bool:
        """Return whether the rows on disk are the ones that were written."""
        return signals.crc32(self.first, self.n_records) == self.crc32


def prepare_chunk(preparation: Preparation, first: int, files: Sequence[str]) -> Chunk:
    """Write the rows of records. An OSError means that they cannot be written."""
    rows = np.zeros((len(files), len(STANDARD_LEADS), preparation.preprocess.n_samples), np.int16)
    failures, warnings, losses, undecided = [], [], [], []
    for index, file in enumerate(files):
        try:
            record = read_record(
                preparation.folder / file, replace(preparation.options, seconds=preparation.preprocess.seconds)
            )
            prepared = preparation.preprocess(record)
            rows[index] = to_microvolts(record.name, prepared.signal)
        except (RecordError, OSError) as error:
            failures.append((first + index, str(error)))
            continue
        if prepared.findings:
            warnings.append((first + index, " ".join(finding.sentence for finding in prepared.findings)))
        if codes := {one.code for one in prepared.findings if one.severity is Severity.NO_DECISION}:
            undecided.append((first + index, " ".join(sorted(codes))))
        if prepared.loss:
            losses.append((first + index, prepared.loss.of))
    crc32 = preparation.signals.write(first, rows)
    return Chunk(first, len(files), crc32, tuple(failures), tuple(warnings), tuple(losses), tuple(undecided))


def to_microvolts(name: str, signal: Float32[np.ndarray, "lead time"]) -> Int16[np.ndarray, "lead time"]:
    """Return the signal in whole microvolts. Raise RecordError if a value does not fit into 16 bits."""
    microvolts = np.rint(signal * MICROVOLTS)
    most = np.abs(microvolts).max()
    if not most <= LARGEST_SAMPLE:  # not a number fails too
        raise RecordError(
            f"{name}: it reaches {most / MICROVOLTS:.1f} mV; a prepared folder holds up to {HIGHEST} mV. "
            f"The header's gain or unit is probably wrong."
        )
    return microvolts.astype(np.int16)
