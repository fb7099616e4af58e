"""Channels of a recorder's file, each with its lead, stored values and scale, made into a record."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Shaped

from data_prep.readers.columns import find_columns, find_leads, name_columns, to_millivolts
from data_prep.readers.columns import to_record as columns_to_record
from data_prep.readers.files import require_sane_size
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError, Remark

FEWEST = 6
"""Smallest number of leads that cannot all be equal in an ECG."""
SAME = 0.02
"""Largest difference in mV between leads that are equal but for rounding."""
PULSE = 0.2
"""Smallest height in mV of a pulse of calibration."""


@dataclass(frozen=True)
class Channel:
    """One channel of a file. Its voltage is `values` times `step` plus `zero`, in `unit`."""

    lead: str
    """Name of the lead as the file spells it."""
    values: Shaped[np.ndarray, " time"]
    """Values as stored. -32768 in 16 bits, or in text of that range, stands for a missing sample."""
    unit: str | None
    """Unit of `step` and `zero` as the file spells it; None where it states none."""
    step: float = 1.0
    zero: float = 0.0


def to_record(
    path: Path,
    channels: Sequence[Channel],
    fs: float | None,
    options: ReadOptions,
    remarks: tuple[Remark, ...] = (),
    n_samples: int | None = None,
) -> Record:
    """Return the record of the channels that are leads. Other channels are left out.

    `n_samples` is the length of the recording where the channels hold only its beginning.

    Raises:
        RecordError: there is no lead, a lead's unit or step is unknown, the sampling rate is missing or impossible, or
            leads differ in length.
    """
    name = path.name
    if not channels:
        raise RecordError(f"{name} holds no waveform.")
    leads = name_columns([channel.lead for channel in channels], options)
    fs = _rate(name, fs, options)
    kept = find_leads(name, leads, options)
    columns, left_out = find_columns(name, [leads[i] for i in kept], [channels[i].unit for i in kept], options)
    lengths = sorted({len(channels[i].values) for i in kept})
    if len(lengths) > 1:
        listed = ", ".join(map(str, lengths))
        raise RecordError(f"{name}: its leads should have one length; found {listed} samples.")
    if not lengths[0]:
        raise RecordError(f"{name} holds no samples.")
    require_sane_size(name, lengths[0], len(kept))
    n_read = options.samples_to_read(lengths[0], fs)
    values = np.column_stack([_voltages(name, channels[i], n_read) for i in kept])
    signal = _without_pulse(to_millivolts(values, columns))
    n_samples = (n_samples or lengths[0]) - (n_read - len(signal))
    return columns_to_record(path.stem, signal, fs, columns, (*left_out, *remarks), n_samples)


def one_of_several(
    n: int, kind: str, chosen: str = "the one with the most leads, then the longest,"
) -> tuple[Remark, ...]:
    """Return a remark on a file that holds several recordings, of which one is read; nothing for a single one."""
    if n < 2:
        return ()
    return (Remark("one-of-several", f"{n} {kind} are in the file; {chosen} is read."),)


def _without_pulse(signal: Float32[np.ndarray, "time lead"]) -> Float32[np.ndarray, "cut lead"]:
    """Return the signal without the pulse of calibration that some recorders append: 0, then 1 mV, then 0 in all leads.

    Leads of an ECG are not all equal, since aVR is half the negative sum of I and II. Uncut, a pulse makes 1 mV the
    largest value of every lead, as if the record had been normalized. Resampled, it differs by some steps from lead to
    lead.
    """
    if len(signal) < 2 or signal.shape[1] < FEWEST or not np.ptp(signal[-1]) <= SAME:
        return signal
    same = np.ptp(signal, axis=1) <= SAME
    if same.all():
        return signal
    begin = len(same) - int(np.argmin(same[::-1]))
    level = signal[begin:, 0]
    is_zero, is_high = np.abs(level) <= SAME, level >= level.max() - SAME
    if level.max() < PULSE or not is_zero[-1]:
        return signal
    first = int(np.argmax(is_zero))  # a few samples before may be equal by chance
    return signal[: begin + first] if (is_zero | is_high)[first:].all() else signal


def _rate(name: str, fs: float | None, options: ReadOptions) -> float:
    fs = options.fs if fs is None else fs
    if fs is None:
        raise RecordError(f"{name} states no sampling rate; pass --fs.")
    if not 0 < fs < math.inf:
        raise RecordError(f"{name}: the sampling rate should be a number of hertz above 0; found {fs:g}.")
    return fs


def _voltages(name: str, channel: Channel, n_read: int) -> Float64[np.ndarray, " time"]:
    """Return the first values in the channel's unit, with NaN for missing samples."""
    if not (0 < channel.step < math.inf and math.isfinite(channel.zero)):
        raise RecordError(
            f"{name}: the voltage of a step should be a number above 0; found {channel.step:g}; the file is damaged."
        )
    stored = channel.values[:n_read]
    values = stored.astype(np.float64)
    lowest, kind = np.iinfo(np.int16).min, stored.dtype
    if (kind.kind == "i" and kind.itemsize == 2) or (kind.kind == "f" and not (stored < lowest).any()):
        values[stored == lowest] = np.nan
    return values * channel.step + channel.zero
