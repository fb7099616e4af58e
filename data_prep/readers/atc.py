"""AliveCor ATC (github.com/alivecor/ATCpy): blocks of 16-bit values, one for each lead, with one step and rate.

Averaged beats and annotations are left out.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.leads import STANDARD_LEADS
from data_prep.readers.channels import Channel, to_record
from data_prep.readers.files import read_bytes
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError, Remark

NAME = "AliveCor ATC"
SUFFIXES: tuple[str, ...] = (".atc",)
MAGIC = b"ALIVE\0\0\0"
HEADER = 12
"""Bytes before the first block: the magic, and the version."""
MAX_BYTES = 2**26
LEADS = dict(zip((b"ecg ", *(b"ecg%x" % i for i in range(2, 13))), STANDARD_LEADS, strict=True))
"""Leads by the name of their block, which counts them in hexadecimal digits."""
FORMAT = struct.Struct("<BHHBH")
"""Block of facts: kind of values, hertz, nanovolts of a step, flags, reserved."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is an ATC."""
    return head.startswith(MAGIC)


def read(path: Path, options: ReadOptions) -> Record:
    """Return the leads of a recording.

    Raises:
        RecordError: the file is cut off, or holds no facts or no lead.
    """
    name, remarks = path.name, list[Remark]()
    blocks = dict(_blocks(name, read_bytes(path, MAX_BYTES), remarks))
    facts = blocks.get(b"fmt ", b"")
    if len(facts) < FORMAT.size:
        raise RecordError(f"{name} holds no block that states its sampling rate and step; it is damaged.")
    _, fs, step, _, _ = FORMAT.unpack_from(facts)
    channels = [
        Channel(lead, np.frombuffer(content[: len(content) // 2 * 2], "<i2"), "uV", step / 1000)
        for block, lead in LEADS.items()
        if (content := blocks.get(block)) is not None
    ]
    return to_record(path, channels, float(fs), options, tuple(dict.fromkeys(remarks)))


def _blocks(name: str, content: bytes, remarks: list[Remark]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the content of each block, and add a remark where its checksum does not match."""
    start = HEADER
    while start < len(content):
        block, size = content[start : start + 4], int.from_bytes(content[start + 4 : start + 8], "little")
        end = start + 8 + size
        if end + 4 > len(content):
            raise RecordError(f"{name} ends within a block; it is cut off.")
        if int.from_bytes(content[end : end + 4], "little") != sum(content[start:end]) % 2**32:
            remarks.append(Remark("checksum", "the checksum of a block does not match; the file may be damaged."))
        yield block, content[start + 8 : end]
        start = end + 4
