"""Write into docs/scale.md what a million and a billion ECGs need, computed from rates that were measured.

python docs/make/scale.py

Each rate has the place where it was measured. What the table has beside them is arithmetic: twice as many records take
twice as long, and twice as many cores half as long. That is measured for parts of a prediction, which share nothing.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from page import fill

from data_prep.words import counted

PAGE = Path(__file__).parents[1] / "scale.md"
SIZES = (10**6, 10**9)


class Rate(NamedTuple):
    """Seconds of a machine for some records."""

    what: str
    records: float
    seconds: float
    units: int
    """Number of cores, or 1 for a GPU with its cores."""
    unit: str
    place: str
    """Page that has the measurement. A dash where no other page has it."""


RATES = (
    Rate("prepare (100 Hz)", 3_835, 10, 2, "core", "[speed.md](speed.md#prediction)"),
    Rate("predict, ONNX", 103_545, 223, 2, "core", "[speed.md](speed.md#prediction)"),
    Rate("predict, checkpoint", 16_000, 24, 1, "H200 with 16 cores", "[speed.md](speed.md#prediction)"),
    Rate("train the earlier recipe, 60 epochs", 2_010, 77, 1, "H200", "–"),
)
BYTES = {
    "WFDB files, 500 Hz": 12 * 5_000 * 2,
    "prepared signals, 100 Hz": 12 * 1_000 * 2,
    "predictions, CSV": 312,
}
"""Bytes per record: 12 leads of 10 s in 16 bits, and the mean of a table of 1,855 rows."""


def table() -> str:
    """Return the table of the page."""
    lines = ["| | measured | 10⁶ ECGs | 10⁹ ECGs | from |", "|---|---|--:|--:|---|"]
    for name, size in BYTES.items():
        cells = " | ".join(storage(size * n) for n in SIZES)
        lines.append(f"| {name} | {size:,} bytes per record | {cells} | |")
    for rate in RATES:
        measured = f"{counted(rate.records, 'record')} in {rate.seconds} s on {counted(rate.units, rate.unit)}"
        hours = " | ".join(f"{rounded(n / rate.records * rate.seconds * rate.units / 3600)} h" for n in SIZES)
        lines.append(f"| {rate.what}, hours of one {rate.unit} | {measured} | {hours} | {rate.place} |")
    return "\n".join(lines)


def storage(n_bytes: float) -> str:
    """Return a number of bytes as text."""
    power = min(int(np.log10(n_bytes)) // 3, 4)
    return f"{rounded(n_bytes / 1000**power)} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def rounded(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{float(f'{value:.3g}'):,g}"


if __name__ == "__main__":
    fill(PAGE, "scale", table())
