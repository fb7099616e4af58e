"""The twelve standard leads: their names, how files spell them, and the algebra between them."""

import re
from functools import lru_cache

import numpy as np
from jaxtyping import Float32

STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
BASIS_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The eight from which the other four follow."""

_STANDARD = {name.lower(): name for name in STANDARD_LEADS}
_PREFIX = re.compile(r"(?:mdc_ecg_lead_|(?:ecg[\s_:-]*)?(?:lead[\s_:-]*)?)", re.IGNORECASE)

FROM_I_AND_II = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}
"""Of each limb lead, how much of both is in it (Einthoven, 1913; Goldberger, 1942)."""
LIMB_LEADS = tuple(FROM_I_AND_II)
FORMULAS = {"III": "II - I", "aVR": "-(I + II)/2", "aVL": "I - II/2", "aVF": "II - I/2"}
ARMS_SWAPPED = tuple(
    STANDARD_LEADS.index(lead) for lead in ("I", "III", "II", "aVL", "aVR", "aVF", *STANDARD_LEADS[6:])
)
"""Where each lead's trace comes from when the electrodes of the arms are swapped; that of I is turned over besides."""
MARK = " reconstructed"
"""What a lead's name ends in where a model drew it: a trace must say so itself, since viewers show no comments."""


@lru_cache(maxsize=1024)
def standard_lead(name: str) -> str | None:
    """The standard lead that a file means by `name`, as `avr`, `Lead aVR` and `MDC_ECG_LEAD_AVR` mean aVR; or None.

    A lead that a model drew counts too; `is_reconstructed` tells it from a measured one.
    """
    text = name.strip().removesuffix(MARK)
    prefix = _PREFIX.match(text)
    return _STANDARD.get(text[prefix.end() if prefix else 0 :].lower())


def is_reconstructed(name: str) -> bool:
    """Whether a file says of its lead that a model drew it."""
    return name.strip().endswith(MARK)


def derive_limb_leads(leads: dict[str, Float32[np.ndarray, " time"]]) -> tuple[str, ...]:
    """Add to `leads` those of the six limb leads that follow exactly from any two of them; gives their names."""
    known = [name for name in LIMB_LEADS if name in leads]
    if len(known) < 2:
        return ()
    missing = tuple(name for name in LIMB_LEADS if name not in leads)
    from_both = np.linalg.inv([FROM_I_AND_II[name] for name in known[:2]]).astype(np.float32)
    for name, (a, b) in zip(("I", "II"), from_both, strict=True):
        if name in missing:
            leads[name] = a * leads[known[0]] + b * leads[known[1]]
    first, second = leads["I"], leads["II"]
    for name in missing:
        if name not in ("I", "II"):
            a, b = FROM_I_AND_II[name]
            leads[name] = a * first + b * second
    return missing


def identity_errors(leads: dict[str, Float32[np.ndarray, " time"]]) -> dict[str, Float32[np.ndarray, " time"]]:
    """By identity, what is left of each limb lead without what follows from the first two of those in `leads`."""
    limbs = [name for name in LIMB_LEADS if name in leads]
    expected = {name: leads[name] for name in limbs[:2]}
    derive_limb_leads(expected)
    named = FORMULAS if limbs[:2] == ["I", "II"] else dict.fromkeys(LIMB_LEADS, f"what {' and '.join(limbs[:2])} give")
    return {f"{name} = {named[name]}": leads[name] - expected[name] for name in limbs[2:]}
