"""A long WFDB record that stays on disk and is read part by part, so that memory holds one part at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.readers.options import WHOLE, ReadOptions
from data_prep.readers.wfdb.samples import ALIGNED, count_frames, is_seekable, read_samples, verify_sums
from data_prep.readers.wfdb.segment import Voltages, read_header, select_voltages
from data_prep.record import Record, Remark

A_PART = ALIGNED * 2**13
"""Number of frames that are read at once: 3 minutes at 500 Hz."""


@dataclass(frozen=True)
class LongRecord:
    """A recording on disk, whose checksums were compared. It has the samples that `read_record` would return."""

    path: Path
    voltages: Voltages
    n_frames: int
    remark: Remark | None
    """Remark of the comparison."""

    @property
    def name(self) -> str:
        return self.voltages.name

    @property
    def fs(self) -> float:
        return self.voltages.fs

    @property
    def leads(self) -> tuple[str, ...]:
        return tuple(signal.lead for signal in self.voltages.signals)

    @property
    def calibrated(self) -> bool:
        return self.part(0, 1).calibrated

    @property
    def n_samples(self) -> int:
        return self.n_frames * self.voltages.header.signals[0].per_frame

    @property
    def seconds(self) -> float:
        return self.n_frames / self.voltages.header.fs

    def part(self, start: int, stop: int) -> Record:
        per_frame = self.voltages.header.signals[0].per_frame
        first = start // per_frame // ALIGNED * ALIGNED
        digital = read_samples(self.path, self.voltages.header, -(-stop // per_frame) - first, first)
        skipped = first * per_frame
        return self.voltages.record(digital[start - skipped : stop - skipped], self.remark, self.seconds)

    def parts(self) -> Iterator[Record]:
        a_part = A_PART * self.voltages.header.signals[0].per_frame
        for start in range(0, self.n_samples, a_part):
            yield self.part(start, min(start + a_part, self.n_samples))


def open_long_record(path: Path, options: ReadOptions) -> LongRecord | None:
    """Open the record of this header and compare its checksums. Return None unless it is long and can be read in parts.

    Raises:
        RecordError: anything is wrong with it.
    """
    header = read_header(path)
    if header.segments or header.is_layout or not is_seekable(header):
        return None
    n_frames = count_frames(path, header, options.follow_links)
    if n_frames * header.signals[0].per_frame <= WHOLE:
        return None
    voltages = select_voltages(path, header, options)
    begins, sums = read_samples(path, header, 1)[0].tolist(), np.zeros(len(header.signals), np.int64)
    for first in range(0, n_frames, A_PART):
        digital = read_samples(path, header, min(A_PART, n_frames - first), first)
        sums += digital.sum(axis=0, dtype=np.int64)
    return LongRecord(path, voltages, n_frames, verify_sums(path.name, begins, sums, voltages.header, whole=True))
