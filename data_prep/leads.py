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

IDENTITIES = {
    "III = II - I": np.array([1, -1, 1, 0, 0, 0], np.float32),
    "aVR = -(I + II)/2": np.array([0.5, 0.5, 0, 1, 0, 0], np.float32),
    "aVL = I - II/2": np.array([-1, 0.5, 0, 0, 1, 0], np.float32),
    "aVF = II - I/2": np.array([0.5, -1, 0, 0, 0, 1], np.float32),
}
"""Einthoven's and Goldberger's: these sums over I, II, III, aVR, aVL, aVF are zero."""


@lru_cache(maxsize=1024)
def standard_lead(name: str) -> str | None:
    """The standard lead that a file means by `name`, as `avr`, `Lead aVR` and `MDC_ECG_LEAD_AVR` mean aVR; or None."""
    text = name.strip()
    prefix = _PREFIX.match(text)
    return _STANDARD.get(text[prefix.end() if prefix else 0 :].lower())


def derive_limb_leads(leads: dict[str, Float32[np.ndarray, " time"]]) -> tuple[str, ...]:
    """Add to `leads` those of the six limb leads that follow exactly from two of I, II and III; gives their names."""
    if not {"I", "II"} <= leads.keys() and len(leads.keys() & {"I", "II", "III"}) < 2:
        return ()
    missing = tuple(name for name in STANDARD_LEADS[:6] if name not in leads)
    if "I" in missing:
        leads["I"] = leads["II"] - leads["III"]
    if "II" in missing:
        leads["II"] = leads["I"] + leads["III"]
    first, second = leads["I"], leads["II"]
    formulas = {
        "III": second - first,
        "aVR": -(first + second) / 2,
        "aVL": first - second / 2,
        "aVF": second - first / 2,
    }
    leads.update({name: formulas[name] for name in missing if name in formulas})
    return missing
