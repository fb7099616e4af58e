"""Conversion of ECG files of any format to WFDB records, without anything that may name a patient but the file name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16

from data_prep.errors import UserError
from data_prep.leads import MARK, is_reconstructed, standard_lead
from data_prep.readers import OtherFile, ReadOptions, find_files, holds_ecg, read_record
from data_prep.record import NO_UNIT, Record, RecordError
from data_prep.wfdb_writer import LARGEST, MISSING, STEPS_PER_MV, header_at, write_record, write_whole_record

NOT_ALLOWED = re.compile(r"[^-\w]", re.ASCII)
"""Character that no name of a WFDB record has."""


class ConvertError(UserError):
    """A path from which or to which nothing can be converted."""


@dataclass(frozen=True)
class Converted:
    """Outcome for one file."""

    path: Path
    header: Path | None = None
    """Header that was written; None where the file failed."""
    failure: str = ""
    existed: bool = False
    """Whether the header was there already. It is left as it is."""
    warnings: tuple[str, ...] = ()


def convert(source: Path, out: Path, options: ReadOptions) -> Iterator[Converted | OtherFile]:
    """Convert a file to the record `out`, or each file below a folder to a record of the same place below `out`.

    A record that is there already is left as it is, so that an interrupted conversion can be continued.

    Raises:
        ConvertError: there is no such file, or `out` is no name for it.
    """
    if not source.is_dir():
        files = [file for file in find_files([source], options) if isinstance(file, Path)]
        if len(files) != 1:
            raise ConvertError(f"{source}: should be one ECG or a folder; found {len(files)} files.")
        yield convert_file(files[0], header_at(out, ConvertError), options)
        return
    if out.exists() and not out.is_dir():
        raise ConvertError(f"{out}: is a file; name a folder, because {source} is one.")
    headers: dict[Path, Path] = {}
    for file in find_files([source], options):
        if isinstance(file, OtherFile):
            yield file
            continue
        relative = file.relative_to(source)
        header = out / relative.parent / f"{NOT_ALLOWED.sub('_', relative.stem)}.hea"
        if header in headers:
            reason = (
                f"{relative}: {headers[header]} is converted to {header}, too; convert one of them to another folder."
            )
            yield Converted(file, failure=reason)
            continue
        headers[header] = relative
        yield convert_file(file, header, options)


def convert_file(path: Path, header: Path, options: ReadOptions) -> Converted:
    """Read one file whole and write it. Whatever is wrong with it is its failure."""
    if header.exists():
        return Converted(path, header, existed=True)
    samples = header.with_suffix(".dat")
    if holds_ecg(samples, options):
        return Converted(path, failure=f"{samples} is an ECG, which the record would replace; choose another OUT.")
    try:
        record = read_record(path, replace(options, seconds=None))
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
        RecordError: the record has no standard lead or no sample.
        OSError: the folder cannot be written.
    """
    kept = [(index, standard) for index, name in enumerate(record.leads) if (standard := standard_lead(name))]
    if not kept or not len(record.signal):
        raise RecordError(f"{record.name}: there is no {'sample' if kept else 'standard lead'} in it.")
    names = [lead + MARK * is_reconstructed(record.leads[index]) for index, lead in kept]
    steps = [to_steps(record.signal[:, index]) for index, _ in kept]
    unit = "mV" if record.calibrated else NO_UNIT
    comments = ["converted by ecgmtl", *(["the voltage scale is lost"] if unit == NO_UNIT else [])]
    header.parent.mkdir(parents=True, exist_ok=True)
    signal, gains = np.stack([step.values for step in steps], axis=1), [step.per_mv for step in steps]
    write_whole_record(header, lambda beside: write_record(beside, signal, record.fs, names, comments, gains, unit))
    return tuple(remarks(record, names, steps))


class Steps(NamedTuple):
    """A lead in whole steps."""

    values: Int16[np.ndarray, " time"]
    per_mv: float


def to_steps(row: Float[np.ndarray, " time"]) -> Steps:
    """Round a lead in mV to 1 µV, or coarser if it exceeds 32.767 mV. Missing samples are marked."""
    known = np.isfinite(row)
    largest = float(np.abs(row[known]).max(initial=0.0))
    per_mv = STEPS_PER_MV if largest * STEPS_PER_MV <= LARGEST else LARGEST / largest
    values = np.where(known, np.rint(np.where(known, row, 0).astype(np.float64) * per_mv), MISSING)
    return Steps(values.astype(np.int16), per_mv)


def remarks(record: Record, names: list[str], steps: list[Steps]) -> Iterator[str]:
    """Yield what is lost."""
    coarse = [
        f"{name} in steps of {1000 / step.per_mv:.3g} µV"
        for name, step in zip(names, steps, strict=True)
        if step.per_mv != STEPS_PER_MV
    ]
    if coarse:
        yield f"values above {LARGEST / STEPS_PER_MV} mV: lead {', '.join(coarse)}."
    if len(names) < len(record.leads):
        yield f"columns left out, because they are no standard leads: {len(record.leads) - len(names)}."
