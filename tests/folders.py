"""Small folders of records to prepare, written as their publishers write them."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from data_prep.synthetic.waveform import synthesize

LEADS = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]
STATEMENTS = """,description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass
NDT,non-diagnostic T abnormalities,1.0,1.0,,STTC,STTC
NORM,normal ECG,1.0,,,NORM,NORM
IMI,inferior myocardial infarction,1.0,,,MI,IMI
ILMI,inferolateral myocardial infarction,1.0,,,MI,IMI
ABQRS,abnormal QRS,,1.0,,,
SR,sinus rhythm,,,1.0,,
"""


def ecg(rng, n_samples=1000, fs=100):
    """An artificial ECG that keeps Einthoven's and Goldberger's identities, in whole microvolts, as mV."""
    return synthesize(["NORM", "SR"], fs, n_samples / fs, rng) / 1000


def write_record(path: Path, signal, fs=100, leads=LEADS, gain=1000):
    """A WFDB record of format 16 with initial values and checksums; `gain` is in digital units a millivolt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digital = np.rint(np.nan_to_num(signal * gain, nan=-32768)).astype("<i2")
    lines = [f"{path.name} {len(leads)} {fs} {len(digital)}"]
    for lead, values in zip(leads, digital.T, strict=True):
        checksum = int(values.sum(dtype=np.int64)) & 0xFFFF
        lines.append(f"{path.name}.dat 16 {gain}.0(0)/mV 16 0 {values[0]} {checksum} 0 {lead}")
    Path(f"{path}.hea").write_text("\n".join(lines) + "\n")
    digital.tofile(f"{path}.dat")


def write_cut_folder(folder: Path, n_records: int):
    """A folder of records, of which one is cut off."""
    rng = np.random.default_rng(0)
    for number in range(n_records):
        write_record(folder / f"r{number:02d}", ecg(rng))
    (folder / "r05.dat").write_bytes(b"cut off")


def write_ptbxl(folder: Path, codes, rng, *, rates=(100,), patients=None, folds=None):
    """A PTB-XL folder with one record a cell of `codes`; by default each of another patient, folds 1 to 10 in turn."""
    numbers = range(1, len(codes) + 1)
    table = pd.DataFrame(
        {
            "ecg_id": numbers,
            "patient_id": [float(patient) for patient in patients or numbers],
            "age": 300.0,
            "sex": 0,
            "scp_codes": [str(found) for found in codes],
            "strat_fold": folds or [(number - 1) % 10 + 1 for number in numbers],
            "filename_lr": [f"records100/00000/{number:05d}_lr" for number in numbers],
            "filename_hr": [f"records500/00000/{number:05d}_hr" for number in numbers],
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "ptbxl_database.csv", index=False)
    (folder / "scp_statements.csv").write_text(STATEMENTS)
    for rate in rates:
        for name in table["filename_lr" if rate == 100 else "filename_hr"]:
            write_record(folder / name, ecg(rng, 10 * rate, rate), rate)
    return folder


def edit(path: Path, old: str, new: str):
    """Replace a piece of text that must be there once or more."""
    text = path.read_text()
    if old not in text:
        raise ValueError(f"{path} does not contain {old!r}")
    path.write_text(text.replace(old, new))


def entry_of(path):
    """The entry of a file in its folder, which names a path although it is none."""
    with os.scandir(path.parent) as entries:
        return next(entry for entry in entries if entry.name == path.name)
