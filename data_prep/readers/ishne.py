"""ISHNE Holter files (Badilini, 1998, doi 10.1111/j.1542-474X.1998.tb00353.x): 16-bit values, all leads in turn."""

import binascii
import struct
from pathlib import Path

import numpy as np

from data_prep.readers.channels import Channel, to_record
from data_prep.readers.files import regular_size, require_sane_size
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError, Remark

NAME = "ISHNE"
SUFFIXES: tuple[str, ...] = ()
MAGIC = b"ISHNE1.0"
HEADER = 522
"""Bytes before the block of variable length."""
MAX_LEADS = 12
LEADS = dict(enumerate(("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"), start=5))
"""Codes of the standard leads, table 1 of the paper."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is of ISHNE."""
    return head.startswith(MAGIC)


def read(path: Path, options: ReadOptions) -> Record:
    """Return the leads of a recording, as far as `options` say.

    Raises:
        RecordError: the header is damaged, or the file ends before the samples.
    """
    name, size = path.name, regular_size(path)
    with path.open("rb") as file:
        header = file.read(HEADER)
        if len(header) < HEADER:
            raise RecordError(f"{name} ends within the header of {HEADER} bytes; it is cut off.")
        n_leads, n_variable = struct.unpack_from("<h", header, 156)[0], struct.unpack_from("<i", header, 10)[0]
        fs = struct.unpack_from("<h", header, 272)[0]
        begin = HEADER + n_variable
        if not 1 <= n_leads <= MAX_LEADS or n_variable < 0 or begin >= size:
            raise RecordError(f"{name} has {n_leads} leads and {n_variable} bytes of remarks, which is impossible.")
        checksum, rest = struct.unpack_from("<H", header, 8)[0], header[10:] + file.read(min(n_variable, 2**20))
        n_samples = (size - begin) // (2 * n_leads)
        require_sane_size(name, n_samples, n_leads)
        n_read = options.samples_to_read(n_samples, fs) if fs > 0 else n_samples
        file.seek(begin)
        content = file.read(2 * n_leads * n_read)
    rows = np.frombuffer(content[: len(content) // (2 * n_leads) * 2 * n_leads], "<i2").reshape(-1, n_leads)
    codes, steps = struct.unpack_from("<12h", header, 158), struct.unpack_from("<12h", header, 206)
    channels = [
        Channel(LEADS.get(codes[i], f"code {codes[i]}"), rows[:, i], "uV", steps[i] / 1000) for i in range(n_leads)
    ]
    own = binascii.crc_hqx(rest, 0xFFFF)
    is_sound = checksum in (0, own, int.from_bytes(own.to_bytes(2, "little"), "big")) or n_variable > 2**20
    damaged = Remark("checksum", "the checksum of its header does not match; the file may be damaged.")
    return to_record(path, channels, float(fs), options, () if is_sound else (damaged,), n_samples)
