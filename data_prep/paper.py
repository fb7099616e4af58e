"""Plots of ECGs on clinical paper: 25 mm a second, 10 mm a millivolt, true to scale when printed."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data_prep.leads import MARK, STANDARD_LEADS, is_reconstructed, standard_lead
from data_prep.record import Record, RecordError

MM_PER_SECOND = 25.0
MM_PER_MV = 10.0
MM_PER_INCH = 25.4
GRID = ("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6")
"""Leads in each row of the printout. As on a recorder, each lead of a row is shown for the next quarter of the time."""
STRIP = "II"
"""Rhythm strip: the lead that is plotted in full below the others."""
ROW_MM = 30.0
LEFT_MM, RIGHT_MM, TOP_MM, BOTTOM_MM = 12.0, 6.0, 14.0, 8.0
INK, RECONSTRUCTED, PAPER, FINE, COARSE = "#16202c", "#1668c4", "#fff8f6", "#f6d5d0", "#e8a79e"
MASKED = "#f2dd8c"


class Traces(NamedTuple):
    """Signals of one record that are plotted over one another, in mV."""

    signal: Float[np.ndarray, "12 time"]
    reconstruction: Float[np.ndarray, "12 time"] | None
    mask: Bool[np.ndarray, "12 time"] | None
    reconstructed: Collection[str]
    """Leads that were not measured."""


def plot_ecg(
    signal: Float[np.ndarray, "12 time"],
    fs: float,
    title: str = "",
    *,
    reconstruction: Float[np.ndarray, "12 time"] | None = None,
    mask: Bool[np.ndarray, "12 time"] | None = None,
    reconstructed: Collection[str] = (),
) -> Figure:
    """Plot a 3 × 4 printout with a rhythm strip. Signals are in mV, fs in hertz.

    Where `mask` is true the paper is shaded, and the reconstruction is plotted over the signal. The leads in
    `reconstructed`, which were not measured at all, are named so and have the color of a reconstruction.
    """
    traces = Traces(signal, reconstruction, mask, reconstructed)
    seconds = signal.shape[1] / fs
    width, height = seconds * MM_PER_SECOND, ROW_MM * (len(GRID) + 1)
    figure, axes = new_sheet(width, height)
    quarter = seconds / len(GRID[0])
    for row, leads in enumerate(GRID):
        level = height - ROW_MM * (row + 0.5)
        plot_calibration_pulse(axes, level)
        for column, lead in enumerate(leads):
            plot_lead(axes, lead, (column * quarter, (column + 1) * quarter), level, fs, traces)
    plot_calibration_pulse(axes, ROW_MM / 2)
    plot_lead(axes, STRIP, (0.0, seconds), ROW_MM / 2, fs, traces)
    figure.text(LEFT_MM / (width + LEFT_MM + RIGHT_MM), 1 - 8 / (height + TOP_MM + BOTTOM_MM), title, fontsize=9)
    scale = f"{MM_PER_SECOND:g} mm/s   {MM_PER_MV:g} mm/mV"
    figure.text(0.98, 2.5 / (height + TOP_MM + BOTTOM_MM), scale, fontsize=7, ha="right")
    if reconstruction is not None:
        add_legend(figure)
    return figure


def plot_record(record: Record, start: float = 0.0, seconds: float = 10.0) -> Figure:
    """Plot some seconds of a record, the median of each lead at zero. Leads that it lacks stay empty.

    A lead whose name says that a model reconstructed it is marked as such.

    Raises:
        RecordError: the record has no standard lead, or no sample in these seconds.
    """
    first, last = (round(second * record.fs) for second in (start, start + seconds))
    part = record.signal[max(first, 0) : max(last, 0)]
    columns = {standard_lead(name): index for index, name in reversed(list(enumerate(record.leads)))}
    if not len(part) or not any(columns):
        reason = "no sample in these seconds" if any(columns) else "no standard lead"
        raise RecordError(f"{record.name}: there is {reason} to plot.")
    signal = np.full((len(STANDARD_LEADS), len(part)), np.nan, np.float32)
    for index, lead in enumerate(STANDARD_LEADS):
        if lead in columns:
            row = part[:, columns[lead]]
            known = row[np.isfinite(row)]
            signal[index] = row - (np.median(known) if len(known) else 0.0)
    reconstructed = {lead for lead, column in columns.items() if lead and is_reconstructed(record.leads[column])}
    return plot_ecg(signal, record.fs, record.name, reconstructed=reconstructed)


def new_sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """Return paper of this size in mm inside its margins, ruled every millimeter and more strongly every fifth."""
    full = (width + LEFT_MM + RIGHT_MM, height + TOP_MM + BOTTOM_MM)
    figure = Figure(figsize=(full[0] / MM_PER_INCH, full[1] / MM_PER_INCH), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((LEFT_MM / full[0], BOTTOM_MM / full[1], width / full[0], height / full[1]))
    axes.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[], facecolor=PAPER)
    for step, color, line in ((1, FINE, 0.3), (5, COARSE, 0.5)):
        axes.vlines(np.arange(0, width + 0.1, step), 0, height, colors=color, linewidths=line, zorder=0)
        axes.hlines(np.arange(0, height + 0.1, step), 0, width, colors=color, linewidths=line, zorder=0)
    for spine in axes.spines.values():
        spine.set_edgecolor(COARSE)
    return figure, axes


def plot_lead(axes: Axes, lead: str, span: tuple[float, float], level: float, fs: float, traces: Traces) -> None:
    """Plot one lead from span[0] to span[1] seconds, its zero at `level` mm above the lower edge."""
    signal, reconstruction, mask, reconstructed = traces
    name, color = (lead + MARK, RECONSTRUCTED) if lead in reconstructed else (lead, INK)
    index = STANDARD_LEADS.index(lead)
    # one sample more than the span, so that the trace reaches that of the next lead
    part = slice(round(span[0] * fs), min(round(span[1] * fs) + 1, signal.shape[1]))
    x = np.arange(part.start, part.stop) / fs * MM_PER_SECOND
    y = level + MM_PER_MV * signal[index, part]
    axes.plot(x, y, color=color, linewidth=0.7, zorder=3, gid=lead, clip_on=False)
    axes.text(x[0] + 1.0, level + ROW_MM * 0.36, name, fontsize=8, weight="bold", zorder=4)
    if span[0] > 0:
        axes.plot([x[0]] * 2, [level - 2.5, level + 2.5], color=INK, linewidth=0.6, zorder=3)
    if reconstruction is not None and mask is not None:
        where = mask[index, part]
        over = np.where(where, level + MM_PER_MV * reconstruction[index, part], np.nan)
        axes.plot(x, over, color=RECONSTRUCTED, linewidth=0.9, zorder=5)
        axes.fill_between(
            x, level - ROW_MM / 2, level + ROW_MM / 2, where=where, color=MASKED, alpha=0.4, lw=0, zorder=1
        )


def plot_calibration_pulse(axes: Axes, level: float) -> None:
    """Plot a pulse of 1 mV and 0.2 s in the left margin."""
    x: Sequence[float] = (-9, -8, -8, -3, -3, -2)
    y = (level, level, level + MM_PER_MV, level + MM_PER_MV, level, level)
    axes.plot(x, y, color=INK, linewidth=0.7, clip_on=False, gid="calibration")


def add_legend(figure: Figure) -> None:
    """Name the colors of the recorded and the reconstructed trace above the sheet."""
    for index, (text, color) in enumerate((("recorded", INK), ("reconstructed where masked (shaded)", RECONSTRUCTED))):
        figure.text(0.56 + 0.11 * index, 0.965, f"— {text}", color=color, fontsize=8)
