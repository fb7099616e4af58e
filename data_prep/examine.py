"""One file at a time: whether it can be read, and what is odd about it."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_prep.dead_leads import find_dead
from data_prep.gaps import fill_gaps
from data_prep.leads import STANDARD_LEADS, derive_limb_leads
from data_prep.lost_voltage import find_loss
from data_prep.plausible import WIDE, broken_identities, odd_size
from data_prep.preprocess import RATES, SHORTEST, find_leads
from data_prep.readers import ReadOptions, read_record
from data_prep.record import Record, RecordError
from data_prep.tables import Finding

USUAL_SECONDS = 10.0


@dataclass(frozen=True)
class Examined:
    """What was found in a file; without digest and fs if it could not be read."""

    file: str
    findings: tuple[Finding, ...]
    digest: bytes | None = None
    """Of the samples that were read: two records with the same are the same ECG."""
    fs: float | None = None


def examine_files(folder: Path, files: Sequence[str], options: ReadOptions) -> list[Examined]:
    return [examine(folder, file, options) for file in files]


def examine(folder: Path, file: str, options: ReadOptions) -> Examined:
    try:
        record = read_record(folder / file, replace(options, seconds=USUAL_SECONDS))
    except RecordError as error:
        kind = "unreadable" if (folder / file).exists() else "missing file"
        return Examined(file, (Finding(kind, file, str(error)),))
    findings = tuple(Finding(kind, file, f"{file}: {message}") for kind, message in oddities(record))
    digest = hashlib.blake2b(record.signal.T.tobytes(), digest_size=16).digest()
    return Examined(file, findings, digest, record.fs)


def oddities(record: Record) -> Iterator[tuple[str, str]]:
    """(kind, what was found) of all that is odd about a record; a gap hides what can only be told without gaps."""
    for warning in record.warnings:
        yield "remark of the reader", warning
    yield from odd_length(record)
    columns = find_leads(record.leads)
    for lead, found in columns.items():
        if len(found) > 1:
            yield "lead twice", f"lead {lead} occurs more than once ({', '.join(record.leads[at] for at in found)})."
    leads = {lead: record.signal[:, found[0]] for lead, found in columns.items()}
    yield from odd_leads(leads)
    yield from odd_values(record, leads)


def odd_length(record: Record) -> Iterator[tuple[str, str]]:
    if not RATES[0] <= record.fs <= RATES[1]:
        yield "odd sampling rate", f"{record.fs:g} Hz is no ECG's; {RATES[0]:g} to {RATES[1]:g} Hz are read."
    seconds = record.seconds
    if seconds < SHORTEST:
        yield "too short", f"lasts {seconds:.3g} s; at least {SHORTEST:g} s are needed."
    elif seconds < USUAL_SECONDS:
        yield "short", f"lasts {seconds:.3g} s; what is missing to {USUAL_SECONDS:g} s would be filled with zeros."


def odd_leads(leads: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    missing = [lead for lead in STANDARD_LEADS if lead not in leads]
    if not missing:
        return
    derivable = [lead for lead in missing if lead in derive_limb_leads(dict(leads))]
    lost = [lead for lead in missing if lead not in derivable]
    if lost:
        yield "missing leads", f"no lead {', '.join(lost)}; a record needs all twelve."
    if derivable:
        yield "leads to derive", f"no lead {', '.join(derivable)}; computed from the other limb leads."


def odd_values(record: Record, leads: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    if not leads:
        return
    names, gaps = tuple(leads), list[str]()
    signal = fill_gaps(names, np.stack(list(leads.values())), record.fs, gaps)
    for gap in gaps:
        yield "missing samples", gap
    bad = (~np.isfinite(signal)).sum(axis=1)
    if bad.any():
        counts = ", ".join(f"{count} of lead {name}" for name, count in zip(names, bad, strict=True) if count)
        yield "not a number", f"of {len(record.signal)} samples, {counts} are not numbers."
        return
    dead = find_dead(names, signal, record.fs)
    if dead:
        yield "dead lead", f"lead {', '.join(dead)} dead (flat, or noise of microvolts)."
    alive = {lead: row for lead, row in zip(names, signal, strict=True) if lead not in dead}
    living = np.stack(list(alive.values()))
    if loss := find_loss(living, record.calibrated):
        yield "lost voltage", f"{loss.found}."
        return
    spans = np.ptp(living, axis=1)
    if reason := odd_size(tuple(alive), spans, record.unit):
        yield "odd unit", reason
    elif spans.max() > WIDE:
        lead = tuple(alive)[int(spans.argmax())]
        yield "odd unit", f"lead {lead} spans {spans.max():.4g} mV; is its unit right, or was an electrode off?"
    for remark in broken_identities(alive):
        yield "lead identity violated", remark
