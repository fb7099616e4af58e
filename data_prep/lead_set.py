"""A set of leads out of twelve: which others follow from it exactly, and which a model has to reconstruct."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from data_prep.filters import resample
from data_prep.leads import (
    BASIS_LEADS,
    LIMB_LEADS,
    STANDARD_LEADS,
    derive_limb_leads,
    is_reconstructed,
    leads_are,
    standard_lead,
)
from data_prep.quality import CheckInput, Finding, refuse_failures
from data_prep.quality.electrode_off import check as check_electrodes
from data_prep.quality.flat_leads import find_dead
from data_prep.quality.gaps import check_gaps, fill_gaps
from data_prep.quality.lead_names import check_missing, check_twice, find_leads
from data_prep.quality.length import check_length
from data_prep.quality.limb_identities import check_identities
from data_prep.quality.lost_voltage import find_loss
from data_prep.quality.unit import check as check_unit
from data_prep.record import Record, RecordError


@dataclass(frozen=True)
class LeadSet:
    """The given leads, by their standard names and in their order."""

    given: tuple[str, ...]

    def __post_init__(self) -> None:
        limbs = [lead for lead in self.given if lead in LIMB_LEADS]
        if not self.given:
            raise ValueError("no lead is named; name those to start from, as in I,II,V2.")
        if len(limbs) == 1 and limbs[0] not in BASIS_LEADS:
            raise ValueError(
                f"lead {limbs[0]} alone determines neither I nor II; name a second limb lead, or I or II instead."
            )
        if not self.reconstructed:
            raise ValueError(f"nothing is left to reconstruct: all leads follow from {', '.join(self.given)}.")

    @classmethod
    def parse(cls, text: str) -> "LeadSet":
        """Return the leads of a list like `I,II,V2`, in any spelling that files may have.

        Raises:
            ValueError: a lead is unknown, or they leave nothing to start from or nothing to reconstruct.
        """
        names = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in names if standard_lead(name) is None]
        if unknown:
            raise ValueError(f"unknown lead {', '.join(unknown)}; the leads are {', '.join(STANDARD_LEADS)}.")
        given = {standard_lead(name) for name in names}
        return cls(tuple(lead for lead in STANDARD_LEADS if lead in given))

    @property
    def derived(self) -> tuple[str, ...]:
        """Leads that follow exactly: from two limb leads the other four."""
        two = sum(lead in LIMB_LEADS for lead in self.given) >= 2
        return tuple(lead for lead in LIMB_LEADS if two and lead not in self.given)

    @property
    def reconstructed(self) -> tuple[str, ...]:
        """Leads that a model has to reconstruct."""
        known = (*self.given, *self.derived)
        return tuple(lead for lead in STANDARD_LEADS if lead not in known)

    @property
    def mask(self) -> tuple[bool, ...]:
        """Whether each of the 8 independent leads is unknown."""
        return tuple(lead in self.reconstructed for lead in BASIS_LEADS)

    def __str__(self) -> str:
        return ", ".join(self.given)


@dataclass(frozen=True)
class GivenLeads:
    """The given leads of a record and those that follow from them, at a model's sampling rate."""

    rows: dict[str, Float32[np.ndarray, " time"]]
    """Signals in mV by lead, with the offset that the file has: the given leads, then those that follow from them."""
    findings: tuple[Finding, ...]
    """Remarks of the reader, and oddities of the given leads."""


def take_leads(record: Record, leads: LeadSet, fs: int) -> GivenLeads:
    """Return the leads of a set from a record, at full length and at `fs` hertz. Its other leads are ignored.

    Raises:
        RecordError: the record lacks a lead, has one that a model reconstructed, has gaps, or is not a plausible ECG.
    """
    refuse_failures(record.name, check_length(record))
    columns = find_leads(record.leads)
    refuse_failures(record.name, check_missing(record, [lead for lead in leads.given if lead not in columns]))
    refuse_failures(record.name, check_twice(record, {lead: columns[lead] for lead in leads.given}))
    indices = [columns[lead][0] for lead in leads.given]
    reconstructed = [
        lead for lead, index in zip(leads.given, indices, strict=True) if is_reconstructed(record.leads[index])
    ]
    if reconstructed:
        raise RecordError(
            f"{record.name}: {leads_are(reconstructed)} reconstructed by a model; start from measured leads."
        )
    signal = np.ascontiguousarray(record.signal.T[indices])
    findings = [Finding(*remark) for remark in record.remarks]
    recorded = fill_gaps(leads.given, signal, record.fs, findings)
    refuse_failures(record.name, check_gaps(leads.given, recorded))
    if loss := find_loss(recorded, record.calibrated):
        raise RecordError(f"{record.name}: {loss.reason}; from such leads no others can be reconstructed in mV.")
    if dead := find_dead(leads.given, recorded, record.fs):
        raise RecordError(f"{record.name}: {leads_are(dead)} dead; name only others in --from.")
    signal = resample(recorded, record.fs, fs)
    centered = signal - signal.mean(axis=1, keepdims=True)
    subject = CheckInput(leads.given, centered, fs, leads.given, recorded, record.fs, record.unit)
    findings += [*check_unit(subject), *check_electrodes(subject)]
    refuse_failures(record.name, findings)
    findings += check_identities(dict(zip(leads.given, centered, strict=True)))
    rows = dict(zip(leads.given, signal, strict=True))
    derive_limb_leads(rows)
    return GivenLeads(rows, tuple(findings))
