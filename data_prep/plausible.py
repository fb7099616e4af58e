"""Whether twelve leads can be an ECG in millivolts, or show a wrong unit, gaps, flat or mixed-up leads."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from data_prep.leads import STANDARD_LEADS, identity_errors
from data_prep.record import NO_UNIT, RecordError

WIDE = 20.0
"""Millivolts that no lead of an ECG spans; a few leads may, when an electrode has come off."""
WIDEST = 100.0
"""Millivolts that no electrode makes a lead span; most recorders end at 65."""
NARROW = 0.02
"""Millivolts below which not every lead's span can lie."""
LOUD = 0.8
"""Millivolts; more than half of the leads of any of 2,277 records of PTB-XL deviate by 0.67 at most."""
FLAT = 0.001
"""Millivolts, one step of a prepared file, that the lead of a living electrode spans."""
LARGEST = 32.767
"""Millivolts; what a prepared file's 16-bit microvolts can hold."""
HUGE = 1e12
"""Millivolts from which on float32 may overflow where values are squared and summed."""
MISMATCH = 0.05
"""Millivolts, root mean square, by which leads may violate the identities between them."""


def refuse_gaps(name: str, leads: Sequence[str], signal: Float32[np.ndarray, "lead time"]) -> None:
    """Raise RecordError if there are values that are no numbers, or too large to reckon with."""
    largest = np.abs(signal).max()
    if largest < HUGE:
        return
    if np.isfinite(signal).all():
        raise RecordError(f"{name}: it reaches {largest:.1g} mV; is the file damaged, or its unit wrong?")
    counts = (~np.isfinite(signal)).sum(axis=1)
    worst = int(counts.argmax())
    others = int((counts > 0).sum()) - 1
    more = f", nor are some of {others} other leads" if others else ""
    raise RecordError(
        f"{name}: {counts[worst]} of {signal.shape[1]} samples of lead {leads[worst]} are not numbers{more}."
    )


def check_prepared(
    name: str,
    signal: Float32[np.ndarray, "lead time"],
    warnings: list[str],
    leads: Sequence[str] = STANDARD_LEADS,
    related: bool = True,
) -> Float32[np.ndarray, "lead time"]:
    """The signal, within what can be stored; RecordError if its unit must be wrong, `warnings` grow by what is odd.

    Leads that are not `related` were scaled each by itself, and need not obey the identities between them.
    """
    spans = signal.max(axis=1) - signal.min(axis=1)
    _refuse_spans(name, leads, spans)
    warnings += _odd_sizes(leads, spans, signal.std(axis=1))
    if related:
        warnings += broken_identities(dict(zip(leads, signal, strict=True)))
    return _clip(signal, warnings)


def _refuse_spans(name: str, leads: Sequence[str], spans: Float32[np.ndarray, " lead"]) -> None:
    widest = int(spans.argmax())
    lead, span = leads[widest], float(spans[widest])
    if span > WIDEST or np.sort(spans)[(len(spans) - 1) // 2] > WIDE:
        raise RecordError(
            f"{name}: lead {lead} spans {span:.4g} mV; the header's gain is probably for microvolts. "
            "Pass --unit uV if so."
        )
    if span == 0:
        raise RecordError(f"{name}: every lead is flat; there is no ECG in it.")
    if span < NARROW:
        raise RecordError(
            f"{name}: no lead spans more than {span:.3g} mV; the values are probably volts. Pass --unit V if so."
        )


def _odd_sizes(
    leads: Sequence[str], spans: Float32[np.ndarray, " lead"], deviations: Float32[np.ndarray, " lead"]
) -> Iterator[str]:
    if spans.max() > WIDE:
        yield f"lead {leads[int(spans.argmax())]} spans {spans.max():.3g} mV; an electrode was probably off."
    elif np.median(deviations) > LOUD:
        yield (
            f"half of the leads deviate by more than {LOUD:g} mV, which no heart makes; is the unit right? "
            f"Pass --unit {NO_UNIT} if the voltage was lost."
        )
    if spans.min() < FLAT:
        flat = [lead for lead, span in zip(leads, spans, strict=True) if span < FLAT]
        yield f"lead {', '.join(flat)} flat."


def broken_identities(leads: dict[str, Float32[np.ndarray, " time"]]) -> Iterator[str]:
    """A remark where limb leads are not what follows from the first two of them."""
    sizes = {identity: float(error.std()) for identity, error in identity_errors(leads).items()}
    broken = [identity for identity, size in sizes.items() if size > MISMATCH]
    if broken:
        largest = max(sizes.values())
        yield f"{', '.join(broken)} violated, by up to {largest:.2g} mV rms; are leads swapped or wrongly named?"


def _clip(signal: Float32[np.ndarray, "lead time"], warnings: list[str]) -> Float32[np.ndarray, "lead time"]:
    largest = float(max(signal.max(), -signal.min()))
    if largest <= LARGEST:
        return signal
    warnings.append(f"values up to {largest:.3g} mV are cut off at {LARGEST} mV.")
    return np.clip(signal, -LARGEST, LARGEST)
