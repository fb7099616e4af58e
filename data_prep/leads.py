"""The twelve standard leads: their names, their spellings in files, and the algebra between them."""

import re
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
from jaxtyping import Float32, Float64

from data_prep.units import normalize, parse_unit

STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
BASIS_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The eight independent leads, from which the other four follow."""
BASIS_INDEX = [STANDARD_LEADS.index(lead) for lead in BASIS_LEADS]
"""Places of the independent leads among the twelve."""
LEAD_CODES = dict(enumerate(BASIS_LEADS, start=1)) | dict(enumerate(("III", "aVR", "aVL", "aVF"), start=61))
"""Codes of the standard leads, the same in SCP-ECG (EN 1064, table of section 3), DICOM (PS3.16, CID 3001) and MFER
(ISO 22077-1)."""

_STANDARD = {
    **{name.lower(): name for name in STANDARD_LEADS},
    **{f"c{number}": f"V{number}" for number in range(1, 7)},  # the electrodes' names after IEC 60601
    **{f"d{name.lower()}": name for name in ("I", "II", "III")},  # as written in Latin America
    **{f"d{number}": name for number, name in enumerate(("I", "II", "III"), start=1)},
}
_JOINED = r"(?:[\s_:.]*|-)"
_SPELLING = re.compile(
    rf"(?:mdc_ecg_(?:lead|elec_potl)_|(?:(?:ecg|ekg){_JOINED})?(?:lead{_JOINED})?)"
    rf"(?P<bracket>[(\[])?(?P<lead>[a-z]+[1-6]?)(?(bracket)[)\]])"
    rf"(?:{_JOINED}(?:lead|ecg|ekg)|(?<!c[1-6])-ref)?",
    re.IGNORECASE,
)
"""A lead with words around it. A hyphen joins two words only if no space is beside it: `Lead -aVR` is inverted.
`C3-Ref` is a name of electroencephalograms, so it is not a lead."""
_WITH_UNIT = re.compile(
    r"(?P<name>.*\S)\s*(?:\[(?P<square>[^\]]+)\]|\((?P<round>[^)]+)\)|[\s_/](?P<bare>\S+v(?:olts?)?))", re.IGNORECASE
)
_BYTES = re.compile(r"b'(.*)'|b\"(.*)\"|'(.*)'|\"(.*)\"")
"""Bytes as Python prints them, and quoted text."""

FROM_I_AND_II = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}
"""Coefficients of I and II in each limb lead (Einthoven, 1913; Goldberger, 1942)."""
LIMB_LEADS = tuple(FROM_I_AND_II)
ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
"""Electrodes of the right arm, the left arm, the left leg and the chest, without the ground electrode."""
FORMULAS = {"III": "II - I", "aVR": "-(I + II)/2", "aVL": "I - II/2", "aVF": "II - I/2"}
MARK = " reconstructed"
"""Suffix of the name of a lead that a model reconstructed. It is in the name because viewers show no comments."""


@lru_cache(maxsize=1024)
def split_unit(name: str) -> tuple[str, str | None]:
    """Return a column's name without its unit, and the unit as a key of UNITS, as of `I [mV]` or `I_uV`; or None."""
    text = normalize(name)
    if quoted := _BYTES.fullmatch(text):
        text = next(inner for inner in quoted.groups() if inner is not None).strip()
    match = _WITH_UNIT.fullmatch(text)
    unit = parse_unit(match["square"] or match["round"] or match["bare"]) if match else None
    return (text, None) if match is None or unit is None else (match["name"], unit)


@lru_cache(maxsize=1024)
def standard_lead(name: str) -> str | None:
    """Return the standard lead that a file means by `name`, or None.

    `avr`, `Lead aVR`, `EKG aVR [mV]`, `aVR-lead` and `MDC_ECG_LEAD_AVR` mean aVR, C1 means V1. A lead that a model
    reconstructed counts too; `is_reconstructed` distinguishes it from a measured one. `-aVR` is inverted and not a lead
    here.
    """
    text, _ = split_unit(name)
    match = _SPELLING.fullmatch(text.removesuffix(MARK))
    return _STANDARD.get(match["lead"].lower()) if match else None


def describe_lead(name: str, number: int, kind: str = "column") -> str:
    """Return `lead aVR`, or `column 3` for the third name if it is not a standard lead's.

    A message never quotes such a name, because a file may hold a patient's name in its place.
    """
    lead = standard_lead(name)
    return f"{kind} {number}" if lead is None else f"lead {lead}"


def name_leads(leads: Sequence[str]) -> str:
    """Return `lead V1`, or `leads V1, V2 and V3`."""
    *others, last = leads
    return f"leads {', '.join(others)} and {last}" if others else f"lead {last}"


def leads_are(leads: Sequence[str]) -> str:
    """Return the beginning of a sentence about leads: `lead V1 is`, or `leads V1, V2 and V3 are`."""
    return f"{name_leads(leads)} {'is' if len(leads) == 1 else 'are'}"


def describe_leads(names: Sequence[str]) -> str:
    """Return the standard leads among `names`, and how many others there are, without quoting any of those."""
    leads = [lead for name in names if (lead := standard_lead(name)) is not None]
    others = [number for number, name in enumerate(names, 1) if standard_lead(name) is None]
    if not others:
        return ", ".join(leads)
    unknown = f"{len(others)} without a lead's name (first: column {others[0]})"
    return f"{', '.join(leads)} and {unknown}" if leads else unknown


def is_reconstructed(name: str) -> bool:
    """Return whether the name of a lead says that a model reconstructed it."""
    text, _ = split_unit(name)
    return text.endswith(MARK)


def derive_limb_leads(leads: dict[str, Float32[np.ndarray, " time"]]) -> tuple[str, ...]:
    """Add to `leads` the limb leads that follow exactly from any two of them, and return their names."""
    known = [name for name in LIMB_LEADS if name in leads]
    if len(known) < 2:
        return ()
    missing = tuple(name for name in LIMB_LEADS if name not in leads)
    for name, (a, b) in zip(("I", "II"), _from_both(known[0], known[1]), strict=True):
        if name in missing:
            leads[name] = a * leads[known[0]] + b * leads[known[1]]
    first, second = leads["I"], leads["II"]
    for name in missing:
        if name not in ("I", "II"):
            a, b = FROM_I_AND_II[name]
            leads[name] = a * first + b * second
    return missing


@cache
def _from_both(one: str, other: str) -> Float32[np.ndarray, "2 2"]:
    """Return the matrix from two limb leads to I and II."""
    return np.linalg.inv([FROM_I_AND_II[one], FROM_I_AND_II[other]]).astype(np.float32)


def identity_errors(leads: dict[str, Float32[np.ndarray, " time"]]) -> dict[str, Float32[np.ndarray, " time"]]:
    """Return, by identity, the error of each limb lead against what follows from the first two of those in `leads`."""
    limbs = [name for name in LIMB_LEADS if name in leads]
    expected = {name: leads[name] for name in limbs[:2]}
    derive_limb_leads(expected)
    formulas = (
        FORMULAS if limbs[:2] == ["I", "II"] else dict.fromkeys(LIMB_LEADS, f"what {' and '.join(limbs[:2])} give")
    )
    return {f"{name} = {formulas[name]}": leads[name] - expected[name] for name in limbs[2:]}


def electrode_algebra() -> Float64[np.ndarray, "12 electrode"]:
    """Return the matrix from nine electrode potentials to 12 leads. Chest leads refer to the mean of the limbs."""
    ra, la, ll = np.eye(len(ELECTRODES))[:3]
    limbs = [la - ra, ll - ra, ll - la, ra - (la + ll) / 2, la - (ra + ll) / 2, ll - (ra + la) / 2]
    return np.stack([*limbs, *(np.eye(len(ELECTRODES))[3:] - (ra + la + ll) / 3)])
