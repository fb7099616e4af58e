"""Names of a record's leads: which are missing, named twice, derivable, or marked as reconstructed by a model.

The algebra between limb leads is exact, so a derived lead changes no prediction beyond rounding. A chest lead that the
file lacks is estimated as a flat one is (`flat_leads.py`), unless a column of the file may be that lead.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from data_prep.leads import (
    LIMB_LEADS,
    STANDARD_LEADS,
    describe_leads,
    is_reconstructed,
    leads_are,
    standard_lead,
)
from data_prep.quality.finding import Finding, Severity
from data_prep.quality.flat_leads import FEWEST_LIMB_LEADS, MOST_ESTIMATED
from data_prep.record import Record


@lru_cache(maxsize=256)
def find_leads(leads: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Return the columns that hold each standard lead, by lead."""
    columns: dict[str, tuple[int, ...]] = {}
    for index, name in enumerate(leads):
        if standard := standard_lead(name):
            columns[standard] = (*columns.get(standard, ()), index)
    return columns


def check_leads(record: Record, related: bool = True) -> Iterator[Finding]:
    """Yield failures if leads are missing or one is named twice, and notes on derived and estimated leads.

    Leads may be missing only where they are `related`, that is, have one voltage scale.
    """
    columns = find_leads(record.leads)
    yield from check_twice(record, columns)
    if reconstructed := find_reconstructed(record.leads):
        sentence = f"{leads_are(reconstructed)} reconstructed by a model, not measured; the result is less certain."
        n_chest = sum(lead not in LIMB_LEADS for lead in reconstructed)
        severity = Severity.NO_DECISION if n_chest > MOST_ESTIMATED else Severity.NOTE
        yield Finding("lead-reconstructed", sentence, severity, reconstructed, len(reconstructed))
    absent = [lead for lead in STANDARD_LEADS if lead not in columns]
    derived = tuple(lead for lead in absent if lead in LIMB_LEADS) if gives_limb_leads(columns) else ()
    estimated = find_estimated(record.leads, related)
    yield from check_missing(record, [lead for lead in absent if lead not in derived + estimated])
    if estimated:
        sentence = f"{leads_are(estimated)} not in the file, and estimated from the others; the result is less certain."
        yield Finding("lead-estimated", sentence, leads=estimated, value=len(estimated))
    if derived and related:
        sentence = f"{leads_are(derived)} not in the file, and computed from the other limb leads."
        yield Finding("lead-derived", sentence, leads=derived, value=len(derived))
    elif derived:
        sentence = (
            f"{leads_are(derived)} missing, and cannot be computed from the other limb leads, each of which lost its "
            "voltage by itself; give all twelve, or leads in mV."
        )
        yield Finding("lead-missing", sentence, Severity.FAILURE, derived, len(derived))


@lru_cache(maxsize=256)
def find_estimated(names: tuple[str, ...], related: bool = True) -> tuple[str, ...]:
    """Return the chest leads that a file lacks and that the others give: few, where no column has an unknown name.

    A column of an unknown name may be one of them.
    """
    columns = find_leads(names)
    absent = tuple(lead for lead in STANDARD_LEADS if lead not in columns and lead not in LIMB_LEADS)
    is_known = all(standard_lead(name) for name in names)
    return absent if related and is_known and len(absent) <= MOST_ESTIMATED and gives_limb_leads(columns) else ()


def gives_limb_leads(leads: Iterable[str]) -> bool:
    """Return whether the limb leads among these give the others."""
    return sum(lead in LIMB_LEADS for lead in leads) >= FEWEST_LIMB_LEADS


def find_reconstructed(names: Sequence[str]) -> tuple[str, ...]:
    """Return the standard leads whose names say that a model reconstructed them."""
    return tuple(lead for name in names if is_reconstructed(name) and (lead := standard_lead(name)))


def check_missing(record: Record, missing: Sequence[str]) -> Iterator[Finding]:
    """Yield a failure if leads are missing. Its sentence says how to name columns that could complete the record."""
    if missing:
        sentence = (
            f"{leads_are(missing)} missing; the record has {describe_leads(record.leads)}.{_remedy(record, missing)}"
        )
        yield Finding("lead-missing", sentence, Severity.FAILURE, tuple(missing), len(missing))


def _remedy(record: Record, missing: Sequence[str]) -> str:
    """Return how to name the leads of unknown columns, or an empty text where they are too few. No pair is guessed.

    The columns' own names are not quoted, because one may be a patient's.
    """
    unknown = [str(number) for number, name in enumerate(record.leads, 1) if standard_lead(name) is None]
    chest = [lead for lead in missing if lead not in LIMB_LEADS]
    n_limb = len(LIMB_LEADS) - (len(missing) - len(chest))
    if not unknown or len(unknown) < len(chest) + max(FEWEST_LIMB_LEADS - n_limb, 0):
        return ""
    columns = f"column {unknown[0]} is" if len(unknown) == 1 else f"columns {', '.join(unknown[:12])} are"
    in_order = "" if len(unknown) < len(record.leads) else "--leads with the leads of all columns in their order, or "
    return (
        f" If {columns} among them, pass {in_order}--leads NAME=LEAD,... with each column's name for NAME and its lead "
        "for LEAD."
    )


def check_twice(record: Record, columns: dict[str, tuple[int, ...]]) -> Iterator[Finding]:
    """Yield a failure if a lead occurs in more than one of the `columns`."""
    for lead, indices in columns.items():
        if len(indices) > 1:
            names = ", ".join(record.leads[index] for index in indices)
            sentence = f"lead {lead} occurs more than once ({names}); keep one of them."
            yield Finding("lead-named-twice", sentence, Severity.FAILURE, (lead,), len(indices))
