"""Checks of one record as read: its length, leads, gaps, voltages and the identities between leads."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from data_prep.dead_leads import find_dead
from data_prep.gaps import fill_gaps
from data_prep.leads import STANDARD_LEADS, derive_limb_leads
from data_prep.lost_voltage import find_loss
from data_prep.plausible import WIDE, identity_doubts, odd_size
from data_prep.preprocess import RATES, SHORTEST, find_leads
from data_prep.record import Record

USUAL_SECONDS = 10.0


class Oddity(NamedTuple):
    """One thing that is odd about a record."""

    kind: str
    message: str


Leads = dict[str, Float32[np.ndarray, " time"]]


def check_record(record: Record) -> Iterator[Oddity]:
    """Yield all that is odd about a record. Long gaps prevent the checks that need every sample."""
    for warning in record.warnings:
        yield Oddity("remark of the reader", warning)
    yield from _check_length(record)
    columns = find_leads(record.leads)
    for lead, indices in columns.items():
        if len(indices) > 1:
            names = ", ".join(record.leads[index] for index in indices)
            yield Oddity("lead twice", f"lead {lead} occurs more than once ({names}).")
    leads = {lead: record.signal[:, indices[0]] for lead, indices in columns.items()}
    yield from _check_leads(leads)
    if leads:
        yield from _check_samples(record, leads)


def _check_length(record: Record) -> Iterator[Oddity]:
    if not RATES[0] <= record.fs <= RATES[1]:
        yield Oddity(
            "odd sampling rate",
            f"{record.fs:g} Hz is not the sampling rate of an ECG; {RATES[0]:g} to {RATES[1]:g} Hz are read.",
        )
    seconds = record.seconds
    if seconds < SHORTEST:
        yield Oddity("too short", f"lasts {seconds:.3g} s; at least {SHORTEST:g} s are needed.")
    elif seconds < USUAL_SECONDS:
        yield Oddity("short", f"lasts {seconds:.3g} s; it would be padded with zeros to {USUAL_SECONDS:g} s.")


def _check_leads(leads: Leads) -> Iterator[Oddity]:
    derivable = derive_limb_leads(dict(leads))
    missing = [lead for lead in STANDARD_LEADS if lead not in leads and lead not in derivable]
    if missing:
        yield Oddity("missing leads", f"no lead {', '.join(missing)}; a record needs all twelve.")
    if derivable:
        yield Oddity("leads to derive", f"no lead {', '.join(derivable)}; computed from the other limb leads.")


def _check_samples(record: Record, leads: Leads) -> Iterator[Oddity]:
    names, gaps = tuple(leads), list[str]()
    signal = fill_gaps(names, np.stack(list(leads.values())), record.fs, gaps)
    yield from (Oddity("missing samples", gap) for gap in gaps)
    invalid = (~np.isfinite(signal)).sum(axis=1)
    if invalid.any():
        counts = ", ".join(f"{count} of lead {name}" for name, count in zip(names, invalid, strict=True) if count)
        yield Oddity("not a number", f"of {len(record.signal)} samples, {counts} are not numbers.")
        return
    dead = find_dead(names, signal, record.fs)
    if dead:
        yield Oddity("dead lead", f"lead {', '.join(dead)} dead (flat, or noise of microvolts).")
    yield from _check_voltages(record, {lead: row for lead, row in zip(names, signal, strict=True) if lead not in dead})


def _check_voltages(record: Record, leads: Leads) -> Iterator[Oddity]:
    """Yield what is odd about the voltages of leads that are not dead and have no gaps."""
    signal = np.stack(list(leads.values()))
    if loss := find_loss(signal, record.calibrated):
        yield Oddity("lost voltage", f"{loss.reason}.")
        return
    spans = np.ptp(signal, axis=1)
    if reason := odd_size(tuple(leads), spans, record.unit):
        yield Oddity("odd unit", reason)
    elif spans.max() > WIDE:
        lead = tuple(leads)[int(spans.argmax())]
        yield Oddity("odd unit", f"lead {lead} spans {spans.max():.4g} mV; is its unit right, or was an electrode off?")
    yield from (Oddity("lead identity violated", doubt) for doubt in identity_doubts(leads))
