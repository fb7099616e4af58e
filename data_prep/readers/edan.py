"""EDAN Holter recordings: `patient.hea` with facts, and `ecgraw.dat` beside it with 16-bit values of 12 channels.

The layout is that of paulbourke.net/dataformats/edan. No file states the voltage of a step, so values are read as ones
whose voltage scale is lost, unless the user passes a unit.
"""

import struct
from pathlib import Path

import numpy as np

from data_prep.readers.channels import Channel, to_record
from data_prep.readers.faults import unsupported
from data_prep.readers.files import refuse_outside_link, regular_size, require_sane_size
from data_prep.readers.options import ReadOptions
from data_prep.record import Record
from data_prep.units import NO_UNIT

NAME = "EDAN Holter"
SUFFIXES: tuple[str, ...] = ()
SAMPLES = "ecgraw.dat"
LABELS, LABEL = 1796, 8
"""Place of the leads' names, and the size of one."""
N_CHANNELS = 12
ZERO = 16384
"""Value of 0 V."""
RATES = frozenset({100, 128, 200, 250, 256, 500, 1000})
DATES = range(631_152_000, 3_155_760_000)
"""Seconds since 1970 from 1990 to 2070."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is an EDAN header: dates, channels and rate where they should be."""
    if len(head) < LABELS + LABEL or head[12] not in (3, N_CHANNELS):
        return False
    begin, end = struct.unpack_from("<II", head, 4)
    return begin in DATES and end in DATES and begin < end and struct.unpack_from("<h", head, 32)[0] in RATES


def read(path: Path, options: ReadOptions) -> Record:
    """Return the recording of a header, from the samples beside it.

    Raises:
        RecordError: the header has other than 12 channels, or the samples are not beside it.
    """
    header, name = path.read_bytes()[: LABELS + N_CHANNELS * LABEL], path.name
    if len(header) < LABELS + N_CHANNELS * LABEL or header[12] != N_CHANNELS:
        raise unsupported(f"{name} has other than {N_CHANNELS} channels")
    samples = path.with_name(SAMPLES)
    size = regular_size(samples, f"the samples of {name} are not there; put them beside it")
    if not options.follow_links:
        refuse_outside_link(samples, path)
    fs, n_samples = float(struct.unpack_from("<h", header, 32)[0]), size // (2 * N_CHANNELS)
    require_sane_size(name, n_samples, N_CHANNELS)
    with samples.open("rb") as file:
        content = file.read(2 * N_CHANNELS * options.samples_to_read(n_samples, fs))
    rows = np.frombuffer(content[: len(content) // 24 * 24], "<u2").reshape(-1, N_CHANNELS).astype(np.int32) - ZERO
    labels = [header[LABELS + LABEL * i :][:LABEL].split(b"\0")[0].decode("latin-1") for i in range(N_CHANNELS)]
    channels = [Channel(label, rows[:, i], NO_UNIT) for i, label in enumerate(labels)]
    return to_record(path, channels, fs, options, n_samples=n_samples)
