"""Files of many ECGs: one array, (record, time, lead) or (record, lead, time), read one or a few ECGs at a time.

Formats whose arrays may be such stacks open them; `formats` lists those. Here is what a stack holds, how one ECG of it
becomes a record, and the sentence by which it is refused where a single ECG is wanted.
"""

import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from data_prep.leads import split_unit
from data_prep.readers.columns import Column, find_columns, missing_facts, to_millivolts, to_record
from data_prep.readers.faults import naming_faults
from data_prep.readers.files import regular_size, require_sane_size
from data_prep.readers.npy import to_texts
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError, Remark
from data_prep.units import parse_rate

IDS = frozenset({"examid", "examids", "ecgid", "ecgids", "recordid", "recordids", "studyid", "studyids", "id", "ids"})
"""Names of arrays, in lower case and without underscores, that hold the id of each ECG."""
MAX_IDS = 2**26
"""Largest array of ids in bytes."""
NO_IDS = "its ids are not whole numbers or texts, one for each ECG, so its ECGs are numbered from 0."
"""Remark on a file whose ids cannot be read."""
N_LEADS = (8, 12)
"""Numbers of leads that are recognized where none are named."""
MIN_SAMPLES = 100
"""Smallest number of samples of a lead by which an array is taken for ECGs."""
BATCH = 2**27
"""Number of bytes that are read at a time where single ECGs cannot be: packed together, or in Fortran's order."""
MAX_RATIO = 1032
"""Largest ratio to which deflate packs. A file that promises more than so many times its size is damaged."""


class Facts(NamedTuple):
    """Facts that a file states of its ECGs. Options say the rest."""

    fs: float | None = None
    units: tuple[str, ...] = ()
    """One unit, or one for each lead, as the file spells them."""
    leads: tuple[str, ...] | None = None


class Layout(NamedTuple):
    """Sampling rate, leads and remarks that the ECGs of a stack have in common."""

    fs: float
    columns: tuple[Column, ...]
    remarks: tuple[Remark, ...]


@runtime_checkable
class Values(Protocol):
    """The array of a stack, in the file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def n_together(self) -> int:
        """Number of ECGs whose values lie together, of which one is not read without the others."""

    def read(self, first: int, count: int) -> Shaped[np.ndarray, "record first_axis second_axis"]:
        """Read some of the ECGs."""


@dataclass(eq=False)
class Stack:
    """The ECGs of an open file. Only those read last are in memory.

    Raises:
        RecordError: the file cannot hold as many values as its array promises, or an ECG is too large.
    """

    path: Path
    values: Values
    lead_axis: int
    """Axis of the leads, 1 or 2."""
    facts: Facts
    ids: tuple[str, ...] | None = None
    """Id of each ECG, where the file has them."""
    remarks: tuple[str, ...] = ()
    """Sentences on the file that a user should know."""
    last: "tuple[int, np.ndarray | RecordError] | None" = field(default=None, repr=False)
    """Number of the batch that was read last, and its values or what is wrong with it."""

    def __post_init__(self) -> None:
        n_samples, n_leads = sorted(self.values.shape[1:], reverse=True)
        require_sane_size(self.path.name, n_samples, n_leads)
        n_bytes, size = math.prod(self.values.shape) * self.values.dtype.itemsize, regular_size(self.path)
        if n_bytes > MAX_RATIO * size:
            raise RecordError(
                f"{self.path.name} promises {len(self)} ECGs of {n_bytes} bytes, more than its {size} bytes can hold; "
                "it is damaged."
            )

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def n_leads(self) -> int:
        return self.values.shape[self.lead_axis]

    @cached_property
    def at_a_time(self) -> int:
        """Number of ECGs that are read at a time."""
        record_bytes = math.prod(self.values.shape[1:]) * self.values.dtype.itemsize
        return max(1, min(self.values.n_together, len(self), BATCH // record_bytes))

    def layout(self, options: ReadOptions) -> Layout:
        """Return how the ECGs are read with these options.

        Raises:
            RecordError: there is no ECG, or a fact is missing, contradictory or does not fit the array.
        """
        if not len(self):
            raise RecordError(f"{self.path.name} holds no ECG: its array has none.")
        name, leads, fs = self.path.name, self.facts.leads or options.column_names, self.facts.fs or options.fs
        units: list[str | None] = [*self.facts.units] or [None]
        has_unit = bool(self.facts.units or options.unit or any(split_unit(lead)[1] for lead in leads or ()))
        if leads is None or fs is None or not has_unit:
            raise RecordError(missing_facts(name, self.n_leads, leads is None, fs is None, not has_unit))
        if len(leads) != self.n_leads:
            raise RecordError(f"{name} holds ECGs of {self.n_leads} leads, but {len(leads)} names are given.")
        if len(units) not in (1, self.n_leads):
            raise RecordError(f"{name} states {len(units)} units for {self.n_leads} leads; pass --unit.")
        columns, remarks = find_columns(name, leads, units * (self.n_leads // len(units)), options)
        return Layout(fs, columns, remarks)

    def record(self, index: int, name: str, layout: Layout) -> Record:
        """Return one ECG as the record `name`, without the rows of zeros at both ends that fill it up.

        Raises:
            RecordError: it cannot be read, or nothing is left of it.
        """
        label = f"{self.path.name}, {name}"
        values = self._values(index, label)
        values = values.T if self.lead_axis == 1 else values
        kept = np.flatnonzero((values != 0).any(axis=1))
        if not len(kept):
            raise RecordError(f"{label}: all of its values are 0, so there is no ECG in it.")
        signal = to_millivolts(values[kept[0] : kept[-1] + 1], layout.columns)
        return to_record(name, signal, layout.fs, layout.columns, layout.remarks, len(signal))

    def finite_record(self, index: int, name: str, layout: Layout) -> Record:
        """Return one ECG as `record` does. Raise RecordError, too, if some of its values are not numbers."""
        record = self.record(index, name, layout)
        n_others = int(np.count_nonzero(~np.isfinite(record.signal)))
        if n_others:
            raise RecordError(f"{self.path.name}, {name}: {n_others} of its values are NaN or infinite.")
        return record

    def _values(self, index: int, label: str) -> Shaped[np.ndarray, "first_axis second_axis"]:
        batch, row = divmod(index, self.at_a_time)
        if self.last is None or self.last[0] != batch:
            self.last = None  # its memory is needed
            self.last = batch, self._read(batch * self.at_a_time)
        values = self.last[1]
        if isinstance(values, RecordError):
            raise RecordError(f"{label} is not readable: {values}") from values
        return values[row]

    def _read(self, first: int) -> "np.ndarray | RecordError":
        try:
            with naming_faults(self.path.name, "valid file"):
                return self.values.read(first, min(self.at_a_time, len(self) - first))
        except RecordError as error:
            return error


def find_lead_axis(shape: Sequence[int], names: Sequence[str] | None) -> int | None:
    """Return the axis of the leads of an array that may be a stack, 1 or 2; None if it is none or either may be it."""
    if len(shape) != 3:
        return None
    for counts in ([len(names)] if names else [], N_LEADS):
        axes = [axis for axis in (1, 2) if shape[axis] in counts and shape[3 - axis] >= MIN_SAMPLES]
        if axes:
            return axes[0] if len(axes) == 1 else None
    return None


def is_ids(name: str) -> bool:
    """Return whether an array of this name holds the id of each ECG."""
    return name.lower().replace("_", "") in IDS


def first_ids(
    readers: Iterable[Callable[[], np.ndarray | None]], n_records: int
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the id of each ECG from the first array that has them, or a remark if none of the arrays does."""
    remarks: tuple[str, ...] = ()
    for read in readers:
        remarks = (NO_IDS,)
        with suppress(RecordError):
            values = read()
            if values is not None and (ids := to_ids(values, n_records)) is not None:
                return ids, ()
    return None, remarks


def to_ids(values: np.ndarray, n_records: int) -> tuple[str, ...] | None:
    """Return the id of each ECG from an array of whole numbers or texts; None if it is another kind of array."""
    if values.shape not in ((n_records,), (n_records, 1)):
        return None
    if values.dtype.kind in "iu":
        return tuple(map(str, values.ravel().tolist()))
    return tuple(to_texts("ids", values)) if values.dtype.kind in "SU" else None


def parse_fs(name: str, stated: object) -> float:
    """Return the sampling rate that a file states as a number or a text.

    Raises:
        RecordError: it is not a number of hertz above 0.
    """
    rate = parse_rate(stated) if isinstance(stated, str) else float(stated) if isinstance(stated, int | float) else None
    if rate is None or not 0 < rate < math.inf:
        raise RecordError(f"{name} should state its sampling rate as a number of hertz above 0; found something else.")
    return rate


def read_single(stack: Stack, options: ReadOptions) -> Record:
    """Return the only ECG of a stack.

    Raises:
        RecordError: it holds several; the message says how to convert them. Or else as `Stack.record`.
    """
    if len(stack) > 1:
        raise RecordError(_refusal(stack, options))
    layout = stack.layout(options)
    record = stack.record(0, stack.path.stem, layout)
    n_read = options.samples_to_read(len(record.signal), layout.fs)
    return to_record(record.name, record.signal[:n_read], layout.fs, layout.columns, layout.remarks, len(record.signal))


def _refusal(stack: Stack, options: ReadOptions) -> str:
    """Return a sentence that says what a file of many ECGs is, and the command that converts it."""
    name, facts = stack.path.name, stack.facts
    stated = any(split_unit(lead)[1] for lead in facts.leads or ())
    words = ["ecgmtl", "convert", name, f"{stack.path.stem}-wfdb"]
    if facts.fs is None:
        words += ["--fs", "HERTZ" if options.fs is None else f"{options.fs:g}"]
    if options.unit is not None or not (facts.units or stated):
        words += ["--unit", options.unit or "UNIT"]
    if options.leads is not None or facts.leads is None:
        words += ["--leads", ",".join(options.leads) if options.leads else "NAMES"]
    shape = " x ".join(map(str, stack.values.shape))
    return (
        f"{name} is an array of {len(stack)} ECGs ({shape}), not a single one; write each as a record of its own: "
        f"{shlex.join(words)}"
    )
