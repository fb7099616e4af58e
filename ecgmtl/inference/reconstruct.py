"""The leads that a record lacks, drawn by a model's decoder and marked as drawn, written as a WFDB record.

A reconstructed lead looks like a measured one, so what it is stands in three places: in its name, which viewers print
beside the trace and converters keep; in comments of the header, for people; and in a warning of every later prediction.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int16

from data_prep.errors import UserError
from data_prep.lead_set import GivenLeads, LeadSet, take_leads
from data_prep.leads import BASIS_LEADS, LIMB_LEADS, MARK, STANDARD_LEADS, derive_limb_leads
from data_prep.record import Record, RecordError
from data_prep.synthetic.wfdb_writer import write_record
from ecgmtl import __version__
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.data.masking import rarity
from ecgmtl.identity import sha256

LARGEST = 32_767
"""µV that a sample of 16 bits holds; the value below its negative means `no sample`."""
BATCH = 64
RARE = 0.05
"""Share of the training records below which a model is called unused to so many hidden leads."""


class ReconstructError(UserError):
    """A model that cannot draw leads, or a place where they cannot be written."""


@dataclass(frozen=True)
class Reconstruction:
    leads: LeadSet
    signal: Int16[np.ndarray, "12 time"]
    """µV: given leads as the file has them, at the model's sampling rate; other limb leads follow from two to 1 µV."""
    fs: int
    source_fs: float
    """Sampling rate of the file, in hertz."""
    warnings: tuple[str, ...]


def reconstruct(stored: Checkpoint, record: Record, leads: LeadSet) -> Reconstruction:
    """All 12 leads from those given; a record longer than the model's window is drawn window by window.

    Raises:
        ReconstructError: the model never learnt to reconstruct.
        RecordError: the record lacks a lead of the set, or is no plausible ECG.
    """
    preprocess = stored.config.preprocess
    warnings = cautions(stored, leads)
    given = take_leads(record, leads, preprocess.fs)
    if record.fs != preprocess.fs:
        warnings.append(f"resampled from {record.fs:g} to {preprocess.fs} Hz, the model's rate.")
    rows = {lead: np.rint(1000 * row) for lead, row in given.rows.items()}
    for lead, row in zip(BASIS_LEADS, draw(stored, given, leads), strict=True):
        rows.setdefault(lead, np.rint(1000 * row))
    derive_limb_leads(rows)
    signal = np.rint(np.stack([rows[lead] for lead in STANDARD_LEADS]))
    highest = np.abs(signal).max(axis=1)
    if highest.max() > LARGEST:
        lead = STANDARD_LEADS[int(highest.argmax())]
        raise RecordError(
            f"{record.name}: lead {lead} reaches {highest.max() / 1000:.1f} mV; up to {LARGEST / 1000} mV can be "
            f"written. Take its offset away first."
        )
    told = (*given.warnings, *warnings)
    return Reconstruction(leads, signal.astype(np.int16), preprocess.fs, record.fs, told)


def cautions(stored: Checkpoint, leads: LeadSet) -> list[str]:
    """What a user must know of this model with this set of leads."""
    if not stored.maskings:
        raise ReconstructError(
            "the model never learnt to reconstruct: no stage that it went through learnt to draw what is hidden."
        )
    n_masked = sum(leads.mask)
    seen = max(rarity(masking, n_masked) for masking in stored.maskings)
    found = []
    if seen < RARE:
        found.append(
            f"the model is not used to this: {n_masked} or more of {len(BASIS_LEADS)} independent leads were hidden in "
            f"{seen:.2%} of the records it learnt from; train it with a greater masking.leads."
        )
    limbs = [lead for lead in leads.given if lead in LIMB_LEADS]
    if len(limbs) < 2:
        have = limbs[0] if limbs else "none"
        found.append(f"of the limb leads {have} is given, so the electrical axis is the model's guess.")
    return found


@torch.inference_mode()
def draw(stored: Checkpoint, given: GivenLeads, leads: LeadSet) -> Float32[np.ndarray, "basis time"]:
    """The 8 independent leads in mV, as the model draws them from what is given."""
    preprocess = stored.config.preprocess
    size, n_samples = preprocess.n_samples, len(next(iter(given.rows.values())))
    known = np.zeros((len(STANDARD_LEADS), n_samples), np.float32)
    for lead, row in given.rows.items():
        known[STANDARD_LEADS.index(lead)] = row
    starts = window_starts(n_samples, size)
    drawn = np.empty((len(BASIS_LEADS), n_samples), np.float32)
    basis = [STANDARD_LEADS.index(lead) for lead in BASIS_LEADS]
    mask = torch.tensor(leads.mask)[None, :, None]
    for places in (starts[at : at + BATCH] for at in range(0, len(starts), BATCH)):
        windows = [preprocess.level(known[:, start : start + size]) for start in places]
        short = size - windows[0].shape[1]
        batch = torch.from_numpy(np.pad(np.stack(windows), ((0, 0), (0, 0), (0, short))))
        found = stored.model.reconstruct(batch, mask.expand(len(batch), -1, size)).numpy()
        for start, window in zip(places, found[:, basis], strict=True):
            drawn[:, start : start + size] = window[:, : n_samples - start]
    return drawn


def window_starts(n_samples: int, size: int) -> list[int]:
    """Windows side by side, the last of them moved back so that it ends with the record.

    They come last first: where the last two overlap, the earlier one's drawing is kept.
    """
    last = max(n_samples - size, 0)
    return sorted({*range(0, last + 1, size), last}, reverse=True)


def comments(found: Reconstruction, model: Path) -> list[str]:
    """What the header says of the leads; nothing of the source's own comments, which may name a patient."""
    leads = found.leads
    rate = f" (resampled from {found.source_fs:g} Hz)" if found.source_fs != found.fs else ""
    derived = f"{', '.join(leads.derived)}, exactly, from the measured limb leads" if leads.derived else "none"
    return [
        "CAUTION: not all of these leads were measured. Not for diagnosis.",
        f"measured leads: {leads}{rate}",
        f"derived leads: {derived}",
        f"reconstructed leads: {', '.join(leads.reconstructed)}, drawn by a model and never measured",
        f"model: {model.name}, SHA-256 {sha256(model.read_bytes())}",
        f"written by ecgmtl {__version__} reconstruct",
    ]


def write_reconstruction(found: Reconstruction, header: Path, model: Path) -> None:
    """A WFDB record in format 16, 1 µV a step; the header is put in place last, so no half of a record is seen.

    Raises:
        ReconstructError: there is such a record already, or the folder cannot be written.
    """
    refuse_existing(header)
    name, reconstructed = header.stem, found.leads.reconstructed
    names = [lead + MARK * (lead in reconstructed) for lead in STANDARD_LEADS]
    try:
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=header.parent) as beside:
            write_record(Path(beside) / name, found.signal.T, found.fs, names, comments(found, model))
            for suffix in (".dat", ".hea"):
                (Path(beside) / f"{name}{suffix}").replace(header.with_suffix(suffix))
    except OSError as error:
        raise ReconstructError(f"{header}: cannot be written: {error.strerror or error}.") from error


def header_at(out: Path) -> Path:
    """The header of the record that is to be written, from a name with or without a suffix of WFDB.

    Raises:
        ReconstructError: it is no name that WFDB allows, or there is such a record already.
    """
    if out.suffix.lower() not in ("", ".hea", ".dat"):
        raise ReconstructError(f"{out}: a WFDB record is written; name it without a suffix, or with .hea.")
    header = out.with_suffix(".hea")
    if not re.fullmatch(r"[-\w]+", header.stem, re.ASCII):
        raise ReconstructError(f"{out}: WFDB names records by letters, digits, - and _ alone.")
    if not header.parent.is_dir():
        raise ReconstructError(f"{out}: there is no folder {header.parent}.")
    refuse_existing(header)
    return header


def refuse_existing(header: Path) -> None:
    for path in (header, header.with_suffix(".dat")):
        if path.exists():
            raise ReconstructError(f"{path} exists already; choose another --out.")
