"""Some leads out of twelve: which others follow from them exactly, and which a model has to draw."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from data_prep.dead_leads import find_dead
from data_prep.gaps import fill_gaps
from data_prep.leads import BASIS_LEADS, LIMB_LEADS, STANDARD_LEADS, derive_limb_leads, is_reconstructed, standard_lead
from data_prep.lost_voltage import find_loss
from data_prep.plausible import identity_doubts, refuse_gaps, require_size, size_doubts
from data_prep.preprocess import find_leads, refuse_missing, refuse_rate_and_length, refuse_twice, resample
from data_prep.record import Record, RecordError


@dataclass(frozen=True)
class LeadSet:
    """The leads that are given, by their standard names and in their order."""

    given: tuple[str, ...]

    def __post_init__(self) -> None:
        limbs = [lead for lead in self.given if lead in LIMB_LEADS]
        if not self.given:
            raise ValueError("no lead is named; name those to start from, as in I,II,V2.")
        if len(limbs) == 1 and limbs[0] not in BASIS_LEADS:
            raise ValueError(
                f"lead {limbs[0]} alone gives neither I nor II; name a second limb lead, or I or II in its place."
            )
        if not self.reconstructed:
            raise ValueError(f"nothing is left to reconstruct: all leads follow from {', '.join(self.given)}.")

    @classmethod
    def parse(cls, text: str) -> "LeadSet":
        """The leads of a list like `I,II,V2`, spelt as files may spell them.

        Raises:
            ValueError: a lead is unknown, or they leave nothing to start from or nothing to reconstruct.
        """
        names = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in names if standard_lead(name) is None]
        if unknown:
            raise ValueError(f"unknown lead {', '.join(unknown)}; there are {', '.join(STANDARD_LEADS)}.")
        found = {standard_lead(name) for name in names}
        return cls(tuple(lead for lead in STANDARD_LEADS if lead in found))

    @property
    def derived(self) -> tuple[str, ...]:
        """Those that follow exactly: from two limb leads the other four."""
        two = sum(lead in LIMB_LEADS for lead in self.given) >= 2
        return tuple(lead for lead in LIMB_LEADS if two and lead not in self.given)

    @property
    def reconstructed(self) -> tuple[str, ...]:
        known = (*self.given, *self.derived)
        return tuple(lead for lead in STANDARD_LEADS if lead not in known)

    @property
    def mask(self) -> tuple[bool, ...]:
        """Of each of the 8 independent leads, whether it is unknown."""
        return tuple(lead in self.reconstructed for lead in BASIS_LEADS)

    def __str__(self) -> str:
        return ", ".join(self.given)


@dataclass(frozen=True)
class GivenLeads:
    """What of a record is known, at a model's sampling rate."""

    rows: dict[str, Float32[np.ndarray, " time"]]
    """By lead, in mV, with the offset that the file has: those given, then those that follow from them."""
    warnings: tuple[str, ...]


def take_leads(record: Record, leads: LeadSet, fs: int) -> GivenLeads:
    """The leads of a set out of a record, whole and at `fs` hertz; its other leads are not looked at.

    Raises:
        RecordError: the record lacks one, has one that a model drew, has gaps, or is no plausible ECG.
    """
    refuse_rate_and_length(record)
    columns = find_leads(record.leads)
    refuse_missing(record, [lead for lead in leads.given if lead not in columns])
    refuse_twice(record, {lead: columns[lead] for lead in leads.given})
    places = [columns[lead][0] for lead in leads.given]
    drawn = [lead for lead, place in zip(leads.given, places, strict=True) if is_reconstructed(record.leads[place])]
    if drawn:
        raise RecordError(
            f"{record.name}: lead {', '.join(drawn)} was itself reconstructed by a model; start from measured leads."
        )
    signal = np.ascontiguousarray(record.signal.T[places])
    warnings = list(record.warnings)
    signal = fill_gaps(leads.given, signal, record.fs, warnings)
    refuse_gaps(record.name, leads.given, signal)
    if loss := find_loss(signal, record.calibrated):
        raise RecordError(f"{record.name}: {loss.reason}; from such leads no others can be reconstructed in mV.")
    if dead := find_dead(leads.given, signal, record.fs):
        raise RecordError(f"{record.name}: lead {', '.join(dead)} dead; leave it out of --from.")
    signal = resample(signal, record.fs, fs)
    centered = signal - signal.mean(axis=1, keepdims=True)
    require_size(record.name, centered, leads.given, record.unit)
    warnings += size_doubts(leads.given, centered)
    warnings += identity_doubts(dict(zip(leads.given, centered, strict=True)))
    rows = dict(zip(leads.given, signal, strict=True))
    derive_limb_leads(rows)
    return GivenLeads(rows, tuple(warnings))
