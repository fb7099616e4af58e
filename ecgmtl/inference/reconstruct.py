"""Reconstruction of the leads that a record lacks, written as a WFDB record in which they are marked.

A reconstructed lead looks like a measured one, so it is marked in three places: in its name, which viewers print beside
the trace and converters keep; in comments of the header; and in a warning of every later prediction.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int16

from data_prep.errors import UserError
from data_prep.files import writing
from data_prep.lead_set import GivenLeads, LeadSet, take_leads
from data_prep.leads import BASIS_INDEX, BASIS_LEADS, LIMB_LEADS, MARK, STANDARD_LEADS, derive_limb_leads
from data_prep.record import Record, RecordError, Remark
from data_prep.units import HIGHEST, LARGEST_SAMPLE, MICROVOLTS
from data_prep.wfdb_writer import header_at, write_record, write_whole_record
from ecgmtl import __version__
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.data.masking import rarity
from ecgmtl.identity import sha256
from ecgmtl.inference.windows import window_starts

BATCH = 64
"""Number of windows that are reconstructed at once."""
RARE = 0.05
"""Fraction of training records with at least as many masked leads, below which a warning is given."""


class ReconstructError(UserError):
    """A model that cannot reconstruct leads, or a path to which they cannot be written."""


@dataclass(frozen=True)
class Reconstruction:
    """A record with all 12 leads, of which some are reconstructed."""

    leads: LeadSet
    signal: Int16[np.ndarray, "12 time"]
    """Signal in µV at the model's sampling rate. Given leads are unchanged, derived limb leads exact to 1 µV."""
    fs: int
    source_fs: float
    """Sampling rate of the file, in hertz."""
    remarks: tuple[Remark, ...]
    """Remarks on the record and on its reconstruction."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each lead, which says whether it is reconstructed."""
        return tuple(lead + MARK * (lead in self.leads.reconstructed) for lead in STANDARD_LEADS)

    def to_record(self, name: str) -> Record:
        """Return the leads in mV as a record, under their marked names."""
        return Record(name, (self.signal.T / MICROVOLTS).astype(np.float32), self.fs, self.names, self.remarks)


def reconstruct(stored: Checkpoint, record: Record, leads: LeadSet) -> Reconstruction:
    """Return all 12 leads from those given. Records longer than the model's window are reconstructed window by window.

    Raises:
        ReconstructError: no stage trained the decoder on masked samples.
        RecordError: the record lacks a lead of the set, or is not a plausible ECG.
    """
    preprocess = stored.config.preprocess
    remarks = remarks_on(stored, leads)
    given = take_leads(record, leads, preprocess.fs)
    if record.fs != preprocess.fs:
        sentence = f"resampled from {record.fs:g} to {preprocess.fs} Hz, the model's rate."
        remarks.append(Remark("resampled", sentence))
    rows = {lead: np.rint(MICROVOLTS * row) for lead, row in given.rows.items()}
    for lead, row in zip(BASIS_LEADS, reconstruct_basis(stored, given, leads), strict=True):
        rows.setdefault(lead, np.rint(MICROVOLTS * row))
    derive_limb_leads(rows)
    signal = np.rint(np.stack([rows[lead] for lead in STANDARD_LEADS]))
    highest = np.abs(signal).max(axis=1)
    if highest.max() > LARGEST_SAMPLE:
        lead = STANDARD_LEADS[int(highest.argmax())]
        raise RecordError(
            f"{record.name}: lead {lead} reaches {highest.max() / MICROVOLTS:.1f} mV; up to {HIGHEST} mV "
            f"can be written. Remove its offset first."
        )
    on_record = [Remark(finding.code, finding.sentence) for finding in given.findings]
    return Reconstruction(leads, signal.astype(np.int16), preprocess.fs, record.fs, (*on_record, *remarks))


def remarks_on(stored: Checkpoint, leads: LeadSet) -> list[Remark]:
    """Return what a user should know of this model's reconstruction from this set of leads.

    Raises:
        ReconstructError: no stage trained the decoder on masked samples.
    """
    if not stored.maskings:
        raise ReconstructError(
            "the model was never trained to reconstruct: none of its stages masked samples; use another model."
        )
    n_masked = sum(leads.mask)
    in_training = max(rarity(masking, n_masked) for masking in stored.maskings)
    remarks = []
    if in_training < RARE:
        sentence = (
            f"the model is not trained for this: {n_masked} or more of {len(BASIS_LEADS)} independent leads were "
            f"masked in {in_training:.2%} of its training records; train it with a larger masking.leads."
        )
        remarks.append(Remark("rarely-masked", sentence))
    limbs = [lead for lead in leads.given if lead in LIMB_LEADS]
    if len(limbs) < 2:
        limb = f"only {limbs[0]}" if limbs else "none"
        sentence = f"{limb} of the limb leads is given, so the electrical axis is the model's guess."
        remarks.append(Remark("guessed-axis", sentence))
    return remarks


@torch.inference_mode()
def reconstruct_basis(stored: Checkpoint, given: GivenLeads, leads: LeadSet) -> Float32[np.ndarray, "basis time"]:
    """Reconstruct the 8 independent leads from the given ones, in mV."""
    preprocess = stored.config.preprocess
    size, n_samples = preprocess.n_samples, len(next(iter(given.rows.values())))
    known = np.zeros((len(STANDARD_LEADS), n_samples), np.float32)
    for lead, row in given.rows.items():
        known[STANDARD_LEADS.index(lead)] = row
    starts = window_starts(n_samples, size)[::-1]  # where the last two overlap, the earlier one is written over it
    reconstructed = np.empty((len(BASIS_LEADS), n_samples), np.float32)
    device = next(stored.model.parameters()).device
    mask = torch.tensor(leads.mask, device=device)[None, :, None]
    for some in (starts[first : first + BATCH] for first in range(0, len(starts), BATCH)):
        windows = [preprocess.level(known[:, start : start + size]) for start in some]
        short = size - windows[0].shape[1]
        batch = torch.from_numpy(np.pad(np.stack(windows), ((0, 0), (0, 0), (0, short)))).to(device)
        complete = stored.model.reconstruct(batch, mask.expand(len(batch), -1, size)).cpu().numpy()
        for start, window in zip(some, complete[:, BASIS_INDEX], strict=True):
            reconstructed[:, start : start + size] = window[:, : n_samples - start]
    return reconstructed


def comments(result: Reconstruction, model: Path) -> list[str]:
    """Return comments on the leads for the header. The source's own are not copied, as they may name a patient."""
    leads = result.leads
    rate = f" (resampled from {result.source_fs:g} Hz)" if result.source_fs != result.fs else ""
    derived = f"{', '.join(leads.derived)}, exactly, from the measured limb leads" if leads.derived else "none"
    return [
        "CAUTION: not all of these leads were measured. Not for diagnosis.",
        f"measured leads: {leads}{rate}",
        f"derived leads: {derived}",
        f"reconstructed leads: {', '.join(leads.reconstructed)}, by a model, not measured",
        f"model: {model.name}, SHA-256 {sha256(model.read_bytes())}",
        f"written by ecgmtl {__version__} reconstruct",
    ]


def write_reconstruction(result: Reconstruction, header: Path, model: Path) -> None:
    """Write a WFDB record in format 16 with steps of 1 µV. The header appears last, when the record is complete.

    Raises:
        ReconstructError: the record exists already, or the folder cannot be written.
    """
    require_new(header)
    remarks = comments(result, model)
    with writing(header, ReconstructError):
        header.parent.mkdir(parents=True, exist_ok=True)
        write_whole_record(
            header, lambda beside: write_record(beside, result.signal.T, result.fs, result.names, remarks)
        )


def new_header(out: Path) -> Path:
    """Return the path of the header to write, from a name with or without a suffix of WFDB.

    Raises:
        ReconstructError: WFDB does not allow the name, or the record exists already.
    """
    header = header_at(out, ReconstructError)
    require_new(header)
    return header


def require_new(header: Path) -> None:
    """Raise ReconstructError if a file of the record exists already."""
    for path in (header, header.with_suffix(".dat")):
        if path.exists():
            raise ReconstructError(f"{path} exists already; choose another --out.")
