"""The signal of one record as it is drawn, packed as text that a browser can decode."""

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int16

from data_prep.filters import resample
from data_prep.leads import BASIS_LEADS, FROM_I_AND_II, STANDARD_LEADS
from data_prep.quality.lead_names import find_leads, find_reconstructed
from ecgmtl.inference.windows import RecordSignals

STEP_MV = 0.005
"""Rounding of a drawn sample, in mV: 0.05 mm on paper, a fifth of the width of the trace."""
MISSING = -32_768
"""Value of a missing sample."""
HIGHEST_RATE = 500.0
"""Highest sampling rate of a drawing, in hertz: a sample every 0.05 mm of paper."""


class Drawing(NamedTuple):
    """The 12 leads to draw, each around its median."""

    rows: Float32[np.ndarray, "12 time"]
    """Leads in mV; nan where a sample is missing."""
    fs: float
    """Sampling rate, in hertz."""
    is_read: bool
    """Whether this is the signal as read. Otherwise it is the one that the model reads."""
    computed: tuple[str, ...] = ()
    """Leads that the file lacks."""
    reconstructed: tuple[str, ...] = ()
    """Leads of the file that a model reconstructed."""


def as_read(signals: RecordSignals, fs: float) -> Drawing:
    """Return the signal as the file has it: not filtered, nothing replaced, at its own rate up to 500 Hz.
    It ends where the model's input ends.

    Leads that the file lacks are taken from the prepared signal at `fs` hertz. So are all if the voltage scale is lost.
    """
    record, prepared = signals
    drawing = as_prepared(signals, fs)
    if prepared.loss is not None:
        return drawing
    columns = find_leads(record.leads)
    samples = record.signal[: round(prepared.signal.shape[1] / fs * record.fs)]
    computed = tuple(lead for lead in STANDARD_LEADS if lead not in columns)
    rows = np.full((len(STANDARD_LEADS), len(samples)), np.nan, np.float32)
    for lead, indices in columns.items():
        rows[STANDARD_LEADS.index(lead)] = samples[:, indices[0]]
    if computed:
        prepared_rows = resample(drawing.rows, fs, record.fs)[:, : rows.shape[1]]
        missing = [STANDARD_LEADS.index(lead) for lead in computed]
        rows[missing, : prepared_rows.shape[1]] = prepared_rows[missing]
    if record.fs > HIGHEST_RATE:
        rows = slower(rows, record.fs)
    return drawing._replace(rows=centered(rows), fs=min(record.fs, HIGHEST_RATE), is_read=True, computed=computed)


def as_prepared(signals: RecordSignals, fs: float) -> Drawing:
    """Return the signal that the model reads, at `fs` hertz, without the zeros after a short record."""
    record, prepared = signals
    n_samples = min(round(len(record.signal) / record.fs * fs), prepared.signal.shape[1])
    reconstructed = find_reconstructed(record.leads)
    return Drawing(centered(prepared.signal[:, :n_samples]), fs, is_read=False, reconstructed=reconstructed)


def slower(rows: Float32[np.ndarray, "lead time"], fs: float) -> Float32[np.ndarray, "lead resampled"]:
    """Resample from `fs` to 500 Hz and keep the gaps."""
    gaps = np.isnan(rows)
    resampled = resample(np.where(gaps, np.float32(0), rows), fs, HIGHEST_RATE)
    nearest = np.minimum((np.arange(resampled.shape[1]) * fs / HIGHEST_RATE).astype(int), rows.shape[1] - 1)
    return np.where(gaps[:, nearest], np.float32(np.nan), resampled)


def centered(rows: Float32[np.ndarray, "lead time"]) -> Float32[np.ndarray, "lead time"]:
    """Subtract each lead's median, because a recorder draws no constant voltage."""
    medians = np.zeros((len(rows), 1), np.float32)
    measured = ~np.isnan(rows).all(axis=1)
    medians[measured, 0] = np.nanmedian(rows[measured], axis=1)
    return rows - medians


def pack(drawing: Drawing, details: dict[str, Any], layers: Sequence[Float[np.ndarray, "row _"]] = ()) -> str:
    """Return a drawing with its details and further arrays in mV as text: base64 of zlib.

    It holds the length of the header (4 bytes, the lowest first), the header as JSON, and for each row of each array
    the differences of its samples as 16-bit integers, first the low bytes of all, then the high bytes.
    """
    leads = BASIS_LEADS if follows_algebra(drawing.rows) else STANDARD_LEADS
    arrays = [rounded(drawing.rows[[STANDARD_LEADS.index(lead) for lead in leads]]), *map(rounded, layers)]
    header = {
        "fs": drawing.fs,
        "step": STEP_MV,
        "leads": leads,
        "is_read": drawing.is_read,
        "computed": drawing.computed,
        "reconstructed": drawing.reconstructed,
        "shapes": [array.shape for array in arrays],
        **details,
    }
    head = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    content = len(head).to_bytes(4, "little") + head + b"".join(map(as_bytes, arrays))
    return base64.b64encode(zlib.compress(content)).decode()


def follows_algebra(rows: Float32[np.ndarray, "12 time"]) -> bool:
    """Return whether III, aVR, aVL and aVF follow from I and II within the rounding, each around its median."""
    one, two = rows[0], rows[1]
    expected = np.stack([a * one + b * two for a, b in FROM_I_AND_II.values()])
    return bool((np.abs(centered(rows[: len(FROM_I_AND_II)] - expected)) <= 2 * STEP_MV).all())


def rounded(rows: Float[np.ndarray, "row time"]) -> Int16[np.ndarray, "row time"]:
    """Round mV to whole steps. A missing sample is -32768."""
    steps = np.clip(np.rint(np.nan_to_num(rows) / STEP_MV), MISSING + 1, -MISSING - 1)
    return np.where(np.isnan(rows), MISSING, steps).astype(np.int16)


def as_bytes(steps: Int16[np.ndarray, "row time"]) -> bytes:
    """Return the differences along time, modulo 2^16. Low and high bytes apart compress better."""
    differences = np.diff(steps, axis=1, prepend=np.int16(0)).astype("<i2")
    return differences.view(np.uint8).reshape(-1, 2).T.tobytes()
