"""Small ECGs for the tests of reading, in memory and as WFDB files written by hand."""

from pathlib import Path

import numpy as np

from data_prep.leads import STANDARD_LEADS
from data_prep.quality import Severity
from data_prep.record import Record


def beats(n_samples=1000, fs=100.0):
    """Twelve leads in mV, (time, lead), obeying Einthoven and Goldberger: a beat a second seen from eight sides."""
    time = np.arange(n_samples) / fs
    phase = time % 1.0
    wave = np.exp(-0.5 * ((phase - 0.4) / 0.03) ** 2) + 0.2 * np.exp(-0.5 * ((phase - 0.7) / 0.06) ** 2)
    basis = {
        name: np.round(
            (0.5 + 0.1 * index) * wave * (-1) ** (index in (2, 3)) + 0.05 * np.sin(2 * np.pi * 0.3 * time + index), 2
        )
        for index, name in enumerate(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"))
    }
    first, second = basis["I"], basis["II"]
    limb = {"III": second - first, "aVR": -(first + second) / 2, "aVL": first - second / 2, "aVF": second - first / 2}
    return np.stack([{**basis, **limb}[name] for name in STANDARD_LEADS], axis=1).astype(np.float32)


def make_record(signal=None, fs=100.0, leads=STANDARD_LEADS, name="00001_lr"):
    signal = beats(fs=fs, n_samples=round(10 * fs)) if signal is None else signal
    return Record(name, np.asarray(signal, np.float32), fs, tuple(leads))


def write_wfdb(
    folder: Path, signal=None, *, fs="100", gain="1000.0(0)", unit="/mV", name="00001_lr", leads=STANDARD_LEADS
):
    """A plain format-16 record, 1000 units a mV whatever the header is made to say; gives the header's path."""
    signal = beats() if signal is None else signal
    digital = np.round(np.nan_to_num(signal * 1000.0, nan=-32768)).astype("<i2")
    digital.tofile(folder / f"{name}.dat")
    lines = [f"{name} {digital.shape[1]} {fs} {digital.shape[0]}"]
    for column, lead in zip(digital.T, leads, strict=True):
        checksum = int(column.sum(dtype=np.int64)) & 0xFFFF
        lines.append(f"{name}.dat 16 {gain}{unit} 16 0 {column[0]} {checksum} 0 {lead}")
    header = folder / f"{name}.hea"
    header.write_text("\n".join([*lines, "# age: 60", ""]))
    return header


def two_files(header: Path) -> Path:
    """The same record with V6 in a file of its own."""
    digital = np.fromfile(header.with_suffix(".dat"), "<i2").reshape(-1, 12)
    digital[:, :11].tofile(header.with_suffix(".dat"))
    digital[:, 11].tofile(header.with_suffix(".xyz"))
    lines = header.read_text().split("\n")
    lines[12] = lines[12].replace(".dat", ".xyz")
    header.write_text("\n".join(lines))
    return header


def edit(path: Path, old: str, new: str, count: int = -1) -> Path:
    """Replace in a text file; the old text must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))
    return path


def sentences(result):
    """Sentences of all findings on a prepared record or on the given leads."""
    return tuple(finding.sentence for finding in result.findings)


def doubts(prepared):
    """Sentences of the findings that forbid a decision."""
    return [finding.sentence for finding in prepared.findings if finding.severity is Severity.NO_DECISION]
