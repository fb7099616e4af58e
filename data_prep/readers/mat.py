"""MATLAB files of levels 4 and 5 that hold one recording: an array of numbers, at the top level or in a struct.

Sampling rate, unit and names of the leads are variables beside the array, or options. Samples of a WFDB record, which
may be a .mat file beside a header, are read as WFDB.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_prep.leads import split_unit, standard_lead
from data_prep.readers import mat_level_4, mat_level_5
from data_prep.readers.columns import (
    MAX_FACT,
    STATE_LEADS,
    STATE_RATE,
    STATE_UNIT,
    Column,
    find_columns,
    missing_facts,
    to_millivolts,
    to_record,
)
from data_prep.readers.files import read_head, regular_size, require_sane_size
from data_prep.readers.mat_variables import MAX_VARIABLES, Kind, Variable
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError
from data_prep.units import parse_rate, parse_unit

NAME = "MATLAB .mat"
SUFFIXES: tuple[str, ...] = ()
MAX_LEADS = 40
MIN_SAMPLES = 100
MIN_RATIO = 5
"""Smallest ratio of the axes of a signal, of which the shorter one is that of the leads."""
MAX_STRUCTS = 2**30
"""Largest size in bytes of all structs that are looked into."""
_HDF5 = b"MATLAB 7.3"
_BLOCK = 2**18
"""Number of samples that are converted at a time."""
_NAMES_SHOWN = 5


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is written by MATLAB."""
    return head.startswith(_HDF5) or mat_level_5.is_level_5(head) or mat_level_4.is_level_4(head)


def reason_not_ecg(path: Path, options: ReadOptions) -> str | None:  # noqa: ARG001, a format's function
    """Return why a file is not an ECG: nothing has the shape of a recording; None if something has, or if damaged."""
    try:
        variables = _variables(path)
    except (RecordError, OSError, MemoryError):  # reading it says what is wrong
        return None
    if any(_is_signal(variable) or _may_hold_signals(variable) for variable in variables):
        return None
    return f"it holds no array of 1 to {MAX_LEADS} leads"


def read(path: Path, options: ReadOptions) -> Record:
    """Return the recording in a file. Only the signal, sampling rate, unit and names of leads are loaded.

    Raises:
        RecordError: it is damaged, holds no signal or several, or lacks or contradicts a fact.
    """
    name, variables = path.name, _variables(path)
    signal = _find_signal(name, variables)
    n_leads, n_samples = sorted(signal.shape)
    require_sane_size(name, n_samples, n_leads)
    facts = _facts_beside(signal, variables)
    leads, fs = _leads(name, facts, n_leads, options), _rate(name, facts, options)
    units = _units(name, facts, n_leads, options)
    if leads is None or fs is None or not (units or options.unit or any(split_unit(lead)[1] for lead in leads)):
        lacking = missing_facts(name, n_leads, leads is None, fs is None, not (units or options.unit))
        raise RecordError(f"{lacking} A WFDB record needs its header beside it.")
    columns, remarks = find_columns(name, leads, units or [None] * n_leads, options)
    values = _in_millivolts(signal, columns, options.samples_to_read(n_samples, fs))
    return to_record(path.stem, values, fs, columns, remarks, n_samples)


def _variables(path: Path) -> list[Variable]:
    """Return the variables of a file, with the fields of its structs."""
    if read_head(path).startswith(_HDF5):
        raise RecordError(
            f"{path.name} is a MATLAB 7.3 file, which is not supported; save it with save(file, '-v7') in MATLAB, or "
            "in another format."
        )
    variables = [variable for variable in list_variables(path) if variable.name or variable.kind is Kind.OBJECT]
    structs = [variable for variable in variables if variable.kind is Kind.STRUCT and _n_values(variable) == 1]
    if sum(variable.n_bytes for variable in structs) > MAX_STRUCTS:
        raise RecordError(f"{path.name}: its structs take more than {MAX_STRUCTS} bytes; save the recording alone.")
    return [*variables, *(field for variable in structs for field in variable.fields())]


def list_variables(path: Path) -> list[Variable]:
    """Return the variables of a file, without the fields of its structs.

    Raises:
        RecordError: it is damaged, or holds more than MAX_VARIABLES.
    """
    size, level = regular_size(path), mat_level_5 if mat_level_5.is_level_5(read_head(path)) else mat_level_4
    with path.open("rb") as stream:
        variables = list(islice(level.variables_of(path, stream, size), MAX_VARIABLES + 1))
    if len(variables) > MAX_VARIABLES:
        raise RecordError(f"{path.name} holds more than {MAX_VARIABLES} variables; save the recording alone.")
    return variables


def _n_values(variable: Variable) -> int:
    return math.prod(variable.shape)


def _is_signal(variable: Variable) -> bool:
    """Return whether a variable has the kind and the shape of a recording."""
    return variable.kind is Kind.NUMBERS and len(variable.shape) == 2 and _is_long(*sorted(variable.shape))


def _is_long(n_leads: int, n_samples: int) -> bool:
    return 1 <= n_leads <= MAX_LEADS and n_samples >= max(MIN_SAMPLES, MIN_RATIO * n_leads)


def _is_stack(variable: Variable) -> bool:
    """Return whether an array of three or more axes may hold several recordings."""
    return variable.kind is Kind.NUMBERS and len(variable.shape) > 2 and max(variable.shape) >= MIN_SAMPLES


def _may_hold_signals(variable: Variable) -> bool:
    """Return whether a variable that is not read may hold recordings."""
    if variable.kind is Kind.STRUCT:
        return _n_values(variable) != 1 or variable.parent is not None
    return variable.kind in (Kind.CELL, Kind.COMPLEX, Kind.SPARSE, Kind.OBJECT) or _is_stack(variable)


def _find_signal(name: str, variables: Sequence[Variable]) -> Variable:
    """Return the array that holds the recording. Vectors beside a matrix are times or marks."""
    signals = [variable for variable in variables if _is_signal(variable)]
    signals = [variable for variable in signals if min(variable.shape) > 1] or signals
    signals += [variable for variable in variables if _is_stack(variable)]
    if len(signals) == 1 and _is_signal(signals[0]):
        return signals[0]
    if len(signals) > 1:
        raise RecordError(
            f"{name} holds {len(signals)} arrays that may be the recording: {_listed(map(str, signals))}; save each "
            "recording in a file of its own."
        )
    others = [f"{variable}, {_described(variable)}" for variable in variables if _may_hold_signals(variable)]
    actual = f"found {_listed(others)}" if others else "found none"
    raise RecordError(
        f"{name} should hold one array of real numbers, (time, up to {MAX_LEADS} leads), at the top level or in a "
        f"struct; {actual}."
    )


def _described(variable: Variable) -> str:
    if variable.kind is Kind.STRUCT:
        return "a struct in a struct" if _n_values(variable) == 1 else "an array of structs"
    article = "an" if variable.kind[0] in "ao" else "a"
    return f"{article} {variable.kind}"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return "; ".join(names[:_NAMES_SHOWN]) + more


def _facts_beside(signal: Variable, variables: Sequence[Variable]) -> list[Variable]:
    """Return the small variables at the top level and in the signal's struct, or in any if the signal is in none."""
    structs = {None, signal.parent} if signal.parent is not None else {each.parent for each in variables}
    return [fact for fact in variables if fact.n_bytes <= MAX_FACT and fact.parent in structs]


def _named(facts: Sequence[Variable], names: frozenset[str]) -> Iterator[Variable]:
    return (fact for fact in facts if fact.name.lower().replace("_", "") in names)


def _leads(name: str, facts: Sequence[Variable], n_leads: int, options: ReadOptions) -> Sequence[str] | None:
    """Return the names of the leads that the file states, or else those of the options."""
    own = set(_named(facts, STATE_LEADS))
    stated = {}
    for fact in facts:
        if _n_texts(fact) != n_leads or (n_leads == 1 and fact not in own):  # a single text may be anything
            continue
        texts = tuple(fact.texts() or ())
        if texts and (fact in own or any(standard_lead(options.lead_of(text)) for text in texts)):
            stated[texts] = fact.label
    if len(stated) > 1:
        raise RecordError(f"{name} names its leads in several ways: {_listed(stated.values())}; save one of them.")
    names = next(iter(stated), options.column_names)
    if names is not None and len(names) != n_leads:
        raise RecordError(f"{name} holds {n_leads} leads, but {len(names)} names are given; name all in their order.")
    return names


def _n_texts(fact: Variable) -> int:
    """Return how many texts a matrix of characters or a cell array may hold."""
    if fact.kind is Kind.TEXT:
        return fact.shape[0]
    return _n_values(fact) if fact.kind is Kind.CELL else 0


def _rate(name: str, facts: Sequence[Variable], options: ReadOptions) -> float | None:
    """Return the sampling rate that the file states in a number or a text, or else that of the options."""
    stated: dict[float, str] = {}
    for fact in _named(facts, STATE_RATE):
        if fact.kind is Kind.TEXT:
            texts = fact.texts()
            rate = parse_rate(texts[0]) if texts else None
        elif fact.kind is Kind.NUMBERS and _n_values(fact) == 1:
            rate = float(fact.numbers().item())
        else:
            continue
        if rate is None or not 0 < rate < math.inf:
            raise RecordError(f"{name}: {fact.label} should be a number of hertz above 0; found something else.")
        stated[rate] = fact.label
    if len(stated) > 1:
        rates = _listed(f"{label} of {rate:g} Hz" for rate, label in stated.items())
        raise RecordError(f"{name} states several sampling rates: {rates}; save one of them.")
    return next(iter(stated), options.fs)


def _units(name: str, facts: Sequence[Variable], n_leads: int, options: ReadOptions) -> list[str | None]:
    """Return the unit of each lead that the file states outside the leads' names; none where it states none."""
    if options.unit is not None:
        return [None] * n_leads
    stated = {tuple(texts) for fact in _named(facts, STATE_UNIT) if (texts := fact.texts())}
    if len({tuple(map(parse_unit, texts)) for texts in stated}) > 1:
        raise RecordError(f"{name} states several units; pass --unit to say which one is right.")
    units = next(iter(stated), ())
    if len(units) not in (0, 1, n_leads):
        raise RecordError(f"{name} states {len(units)} units for {n_leads} leads; save one.")
    return [*units] * (n_leads if len(units) == 1 else 1)


def _in_millivolts(signal: Variable, columns: Sequence[Column], n_read: int) -> Float32[np.ndarray, "time lead"]:
    values = signal.numbers()
    values = values.T if values.shape[0] < values.shape[1] else values
    blocks = [to_millivolts(values[at : at + _BLOCK][: n_read - at], columns) for at in range(0, n_read, _BLOCK)]
    return np.concatenate(blocks)
