"""A writer of WFDB records in format 16 at 1 µV a step.

The header holds the initial values and checksums that readers verify.
The format: https://wfdb.io/spec/header-files.html
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int16


def write_record(
    path: Path, signal: Int16[np.ndarray, "time lead"], fs: int, leads: Sequence[str], comments: Sequence[str] = ()
) -> None:
    """Write a signal in microvolts as `path`.dat, then its header as `path`.hea."""
    path.with_suffix(".dat").write_bytes(signal.astype("<i2").tobytes())
    sums = signal.astype(np.int64).sum(axis=0) % 65_536
    lines = [f"{path.name} {len(leads)} {fs} {len(signal)}"]
    for lead, first, checksum in zip(leads, signal[0], sums, strict=True):
        lines.append(f"{path.name}.dat 16 1000.0(0)/mV 16 0 {first} {checksum} 0 {lead}")
    lines += [f"# {comment}" for comment in comments]
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
