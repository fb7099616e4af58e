"""Contec ECG90A: a header of 43 bytes, eight leads of unsigned 16-bit values at 800 Hz, and 37 bytes at the end.

No file states rate, leads or step. They are those of rigacci.org/wiki/doku.php/tecnica/misc/contec_ecg_file_format.
"""

import re
from pathlib import Path

import numpy as np

from data_prep.readers.channels import Channel, to_record
from data_prep.readers.files import regular_size, require_sane_size
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError

NAME = "Contec ECG90A"
SUFFIXES: tuple[str, ...] = ()
LEADS = ("II", "III", "V1", "V2", "V3", "V4", "V5", "V6")
ROW = 2 * len(LEADS)
"""Bytes of a sample of all leads."""
BEGIN, END = 43, 37
"""Bytes before and after the samples."""
FS = 800.0
STEP = 5
"""Microvolts."""
ZERO, NO_ELECTRODE = 2048, 0x6800
"""Values of 0 V and of a lead that is not connected."""
_HEADER = re.compile(rb"\d{7}\0{3}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\0")


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is of an ECG90A: the number of a case, then date and time."""
    return _HEADER.match(head) is not None


def read(path: Path, options: ReadOptions) -> Record:
    """Return the recording of a file, without leads that were not connected.

    Raises:
        RecordError: the file ends within a sample, or no lead was connected.
    """
    name, size = path.name, regular_size(path)
    n_samples, rest = divmod(size - BEGIN - END, ROW)
    if n_samples < 1 or rest:
        raise RecordError(f"{name} should have {BEGIN + END} bytes and {ROW} for each sample; found {size} bytes.")
    require_sane_size(name, n_samples, len(LEADS))
    with path.open("rb") as file:
        file.seek(BEGIN)
        content = file.read(ROW * options.samples_to_read(n_samples, FS))
    rows = np.frombuffer(content, "<u2").reshape(-1, len(LEADS))
    values = np.where(rows == NO_ELECTRODE, np.nan, rows.astype(np.float64) - ZERO)
    channels = [
        Channel(lead, values[:, index], "uV", STEP)
        for index, lead in enumerate(LEADS)
        if not np.isnan(values[:, index]).all()
    ]
    return to_record(path, channels, FS, options, n_samples=n_samples)
