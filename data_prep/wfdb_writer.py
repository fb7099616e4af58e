"""A writer of WFDB records in format 16.

The header holds the initial values and checksums that readers verify.
The format: https://wfdb.io/spec/header-files.html
"""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from data_prep.errors import UserError
from data_prep.files import naming
from data_prep.units import LARGEST_SAMPLE, MICROVOLTS

STEPS_PER_MV = MICROVOLTS
"""Default gain: a step of 1 µV."""
MISSING = -LARGEST_SAMPLE - 1
"""Value that marks a missing sample in format 16."""


def is_record_name(name: str) -> bool:
    """Return whether WFDB allows a name for a record: it has letters, digits, - and _ alone."""
    return re.fullmatch(r"[-\w]+", name, re.ASCII) is not None


def header_at(out: Path, error: type[UserError]) -> Path:
    """Return the header of a record to write, from its name with or without a suffix of WFDB.

    Raises:
        error: WFDB does not allow the name, or it is that of a folder.
    """
    if out.is_dir():
        raise error(f"{out}: is a folder; name a record in it, for example {out / 'ecg'}.")
    header = out.with_suffix(".hea") if out.suffix.lower() in (".hea", ".dat") else out.with_name(f"{out.name}.hea")
    if not is_record_name(header.stem):
        raise error(
            f"{out}: should be the name of a WFDB record, which consists of letters, digits, - and _ alone; .hea may "
            "follow it."
        )
    return header


def write_whole_record(header: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a record beside `header`, then move it into place, the header last.

    `write` takes the path of the record without a suffix.

    Raises:
        OSError: the folder cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=f".{header.stem}.", dir=header.parent) as folder:
        beside = Path(folder) / header.stem
        with naming(header):
            write(beside)
        for suffix in (".dat", ".hea"):
            Path(f"{beside}{suffix}").replace(header.with_suffix(suffix))


def write_record(
    path: Path,
    signal: Int16[np.ndarray, "time lead"],
    fs: float,
    leads: Sequence[str],
    comments: Sequence[str] = (),
    gains: Sequence[float] | None = None,
    unit: str = "mV",
) -> None:
    """Write a signal as `path`.dat, then its header as `path`.hea. `gains` are the steps of each lead per unit."""
    Path(f"{path}.dat").write_bytes(signal.astype("<i2").tobytes())
    sums = signal.astype(np.int64).sum(axis=0) % 65_536
    lines = [f"{path.name} {len(leads)} {fs:.12g} {len(signal)}"]
    each = zip(leads, signal[0], sums, gains or [STEPS_PER_MV] * len(leads), strict=True)
    for lead, first, checksum, gain in each:
        lines.append(f"{path.name}.dat 16 {gain}(0)/{unit} 16 0 {first} {checksum} 0 {lead}")
    lines += [f"# {comment}" for comment in comments]
    Path(f"{path}.hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
