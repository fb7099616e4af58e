"""Conversion of ECG files of any format to WFDB records, without anything that may name a patient but the file name."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16

from data_prep.errors import UserError
from data_prep.leads import MARK, is_reconstructed, standard_lead
from data_prep.readers import (
    OtherFile,
    ReadOptions,
    Stack,
    find_files,
    holds_ecg,
    open_stack,
    rate_remarks,
    read_record,
    with_possible_rate,
)
from data_prep.record import Record, RecordError
from data_prep.units import HIGHEST, LARGEST_SAMPLE, NO_UNIT
from data_prep.wfdb_writer import (
    MISSING,
    STEPS_PER_MV,
    header_at,
    is_record_name,
    write_record,
    write_whole_record,
)

NOT_ALLOWED = re.compile(r"[^-\w]", re.ASCII)
"""Character that no name of a WFDB record has."""
FAINT = 0.1
"""Millivolts that some value of an ECG reaches: 0.64 or more in each of 2,277 records of PTB-XL."""
MOST_STEPS = 1e9
"""Largest number of steps per mV that readers take for a gain."""
LONGEST_ID = 64
"""Largest number of characters of an id that becomes the name of a record."""


class ConvertError(UserError):
    """A path that cannot be converted from or to."""


@dataclass(frozen=True)
class Converted:
    """Outcome for one ECG of a file."""

    path: Path
    header: Path | None = None
    """Header that was written; None where the file failed."""
    failure: str = ""
    existed: bool = False
    """Whether the header was there already. It is left as it is."""
    warnings: tuple[str, ...] = ()


def convert(source: Path, out: Path, options: ReadOptions) -> Iterator[Converted | OtherFile]:
    """Convert a file to the record `out`, or each file below a folder to one with the same relative path below `out`.

    A file of many ECGs becomes a folder of records: `out` itself, or one of the file's name below `out`. A record that
    is there already is left as it is, so that an interrupted conversion can be continued.

    Raises:
        ConvertError: there is no such file, or `out` is no name for it.
    """
    if not source.is_dir():
        files = [file for file in find_files([source], options) if isinstance(file, Path)]
        if len(files) != 1:
            raise ConvertError(f"{source}: should be one ECG or a folder; found {len(files)} files.")
        yield from failing(files[0], convert_named(files[0], out, options))
        return
    if out.exists() and not out.is_dir():
        raise ConvertError(f"{out}: is a file; name a folder, because {source} is one.")
    origins: dict[Path, str] = {}
    real_out = out.resolve()
    is_within = source.resolve() in real_out.parents
    for file in find_files([source], options):
        if isinstance(file, OtherFile):
            yield file
        elif not (is_within and file.parent.resolve().is_relative_to(real_out)):  # an earlier conversion wrote it
            yield from failing(file, convert_found(file, file.relative_to(source), out, options, origins))


def failing(file: Path, results: Iterator[Converted]) -> Iterator[Converted]:
    """Yield the results of a file. A RecordError becomes its failure."""
    try:
        yield from results
    except RecordError as error:
        yield Converted(file, failure=str(error))


def convert_named(file: Path, out: Path, options: ReadOptions) -> Iterator[Converted]:
    """Convert a file to the record `out`, or a file of many ECGs to records in the folder `out`."""
    with open_stack(file, options) as stack:
        if stack is None or len(stack) == 1:
            yield convert_file(file, header_at(out, ConvertError), options)
            return
        if out.suffix.lower() in (".hea", ".dat") or (out.exists() and not out.is_dir()):
            raise ConvertError(f"{out}: name a folder, because {file} holds {len(stack)} ECGs.")
        yield from convert_stack(stack, out, options, {})


def convert_found(
    file: Path, relative: Path, out: Path, options: ReadOptions, origins: dict[Path, str]
) -> Iterator[Converted]:
    """Convert a file of a folder. `origins` holds what each header was converted from, so that none is used twice."""
    target = out / relative.parent / record_name(relative)
    with open_stack(file, options) as stack:
        if stack is not None and len(stack) != 1:
            yield from convert_stack(stack, target, options, origins)
            return
    header = target.with_name(f"{target.name}.hea")
    yield refused(file, str(relative), header, origins) or convert_file(file, header, options)


def refused(file: Path, label: str, header: Path, origins: dict[Path, str]) -> Converted | None:
    """Return the failure of an ECG if another one is converted to its header. Otherwise note that it is."""
    other = origins.setdefault(header, label)
    if other == label:
        return None
    reason = f"{label}: {other} is converted to {header}, too; convert one of them to another folder."
    return Converted(file, failure=reason)


def record_name(path: Path) -> str:
    """Return the name of a file without its suffix as that of a record."""
    return NOT_ALLOWED.sub("_", path.stem)


def convert_stack(stack: Stack, folder: Path, options: ReadOptions, origins: dict[Path, str]) -> Iterator[Converted]:
    """Convert each ECG of a file to a record in a folder. An error in one of them is its own failure only.

    Raises:
        RecordError: a fact that all of them need is missing.
    """
    layout, file = stack.layout(options), stack.path
    names, remarks = names_of(stack)
    remarks += tuple(remark.sentence for remark in rate_remarks(options.rate_of(layout.fs), options))

    def read(index: int, name: str) -> Record:
        return with_possible_rate(stack.finite_record(index, name, layout), options)

    for index, name in enumerate(names):
        header, one = folder / f"{name}.hea", partial(read, index, name)
        result = refused(file, f"{file.name}, {name}", header, origins) or convert_file(file, header, options, one)
        yield replace(result, warnings=(*remarks, *result.warnings))
        remarks = ()  # on the file, so they are said once


def names_of(stack: Stack) -> tuple[Sequence[str], tuple[str, ...]]:
    """Return the name of each record, and remarks: its id, or else the name of the file and a number from 0."""
    ids = stack.ids or ()
    if ids and all(map(is_safe_name, ids)) and len({name.casefold() for name in ids}) == len(ids):
        return ids, stack.remarks
    digits = len(str(len(stack) - 1))
    names = [f"{record_name(stack.path)}_{number:0{digits}}" for number in range(len(stack))]
    unusable = ("its ids are not all different or cannot be names of records, so its ECGs are numbered from 0.",)
    return names, (*stack.remarks, *(unusable if ids else ()))


def is_safe_name(name: str) -> bool:
    """Return whether an id may be the name of a record: a short one of WFDB that no command takes for an option."""
    return is_record_name(name) and not name.startswith("-") and len(name) <= LONGEST_ID


def convert_file(path: Path, header: Path, options: ReadOptions, read: Callable[[], Record] | None = None) -> Converted:
    """Read one file, or one ECG of it by `read`, whole and write it. Whatever is wrong with it is its failure."""
    if header.exists():
        return Converted(path, header, existed=True)
    samples = header.with_suffix(".dat")
    if holds_ecg(samples, options):
        return Converted(path, failure=f"{samples} is an ECG, which the record would replace; choose another OUT.")
    try:
        record = read() if read else read_record(path, replace(options, seconds=None))
        warnings = write(record, header)
    except RecordError as error:
        return Converted(path, failure=str(error))
    except OSError as error:
        return Converted(path, failure=f"{header}: cannot be written: {error.strerror or error}.")
    return Converted(path, header, warnings=(*(remark.sentence for remark in record.remarks), *warnings))


def write(record: Record, header: Path) -> tuple[str, ...]:
    """Write the standard leads of a record, and return remarks on what its steps or leads lose.

    The header appears last, when the record is complete.

    Raises:
        RecordError: the record has no standard lead or no sample, or a lead has infinite values.
        OSError: the folder cannot be written.
    """
    kept = [(index, standard) for index, name in enumerate(record.leads) if (standard := standard_lead(name))]
    if not kept or not len(record.signal):
        raise RecordError(f"{record.name}: there is no {'sample' if kept else 'standard lead'} in it.")
    refuse_infinite(record, kept)
    names = [lead + MARK * is_reconstructed(record.leads[index]) for index, lead in kept]
    rows = [record.signal[:, index] for index, _ in kept]
    largest = [largest_of(row) for row in rows]
    finest = finest_steps(max(largest))
    steps = [to_steps(row, most, finest) for row, most in zip(rows, largest, strict=True)]
    unit = "mV" if record.calibrated else NO_UNIT
    comments = ["converted by ecgmtl", *(["the voltage scale is lost"] if unit == NO_UNIT else [])]
    header.parent.mkdir(parents=True, exist_ok=True)
    signal, gains = np.stack([step.values for step in steps], axis=1), [step.per_mv for step in steps]
    write_whole_record(header, lambda beside: write_record(beside, signal, record.fs, names, comments, gains, unit))
    return tuple(remarks(record, names, steps))


def refuse_infinite(record: Record, kept: Sequence[tuple[int, str]]) -> None:
    """Raise RecordError if a lead has infinite values. They are damage, which a record of WFDB would mark as a gap."""
    for index, lead in kept:
        if n_infinite := int(np.isinf(record.signal[:, index]).sum()):
            raise RecordError(
                f"{record.name}: {n_infinite} of {len(record.signal)} samples of lead {lead} are infinite; the file is "
                "damaged. Copy it again, or write NaN where a sample is missing."
            )


class Steps(NamedTuple):
    """A lead in whole steps."""

    values: Int16[np.ndarray, " time"]
    per_mv: float


def finest_steps(largest: float) -> float:
    """Return the steps per mV of all leads: 1000, or more by a power of ten where `largest` mV are less than FAINT.

    The values are then normalized, or in a larger unit than the file states, and steps of 1 µV would destroy them.
    """
    if not 0 < largest < FAINT:
        return STEPS_PER_MV
    finest = STEPS_PER_MV * 10.0 ** math.floor(math.log10(LARGEST_SAMPLE / (largest * STEPS_PER_MV)))
    return min(finest, MOST_STEPS)


def largest_of(row: Float[np.ndarray, " time"]) -> float:
    """Return the largest absolute value of a lead without its missing samples."""
    return float(np.abs(row[np.isfinite(row)]).max(initial=0.0))


def to_steps(row: Float[np.ndarray, " time"], largest: float, finest: float) -> Steps:
    """Round a lead of up to `largest` mV to `finest` steps per mV, or coarser if 16 bits do not hold it.

    Missing samples are marked.
    """
    known = np.isfinite(row)
    per_mv = finest if largest * finest <= LARGEST_SAMPLE else LARGEST_SAMPLE / largest
    values = np.where(known, np.rint(np.where(known, row, 0).astype(np.float64) * per_mv), MISSING)
    return Steps(values.astype(np.int16), per_mv)


def remarks(record: Record, names: list[str], steps: list[Steps]) -> Iterator[str]:
    """Yield what is lost."""
    coarse = [
        f"{name} in steps of {1000 / step.per_mv:.3g} µV"
        for name, step in zip(names, steps, strict=True)
        if step.per_mv < STEPS_PER_MV
    ]
    if coarse:
        yield f"values above {HIGHEST} mV: lead {', '.join(coarse)}."
    if len(names) < len(record.leads):
        yield f"columns left out, because they are not standard leads: {len(record.leads) - len(names)}."
