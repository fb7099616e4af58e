"""ECG measurements: the rhythm, and times and voltages of the waves in each lead of the mean beat.

Nothing is learned here. From few records, a network learns little of what a caliper shows at once.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from data_prep.leads import STANDARD_LEADS
from ecgmtl.data.lead_algebra import extend_mask
from ecgmtl.model.forest.mean_beat import find_beats, mean_beat, running, steepness, tilted

BEFORE_MS, AFTER_MS = 360, 560
"""Extent of a beat before and after its steepest moment."""
QUIET, QUIET_MS = 0.15, 30
"""Outside a QRS complex, the largest change of the leads relative to the steepest moment, and for how long."""
NEAR_MS = 80
"""Largest distance of a beat's steepest moment from where the beat was detected."""
ONSET_MS, END_MS = 140, 200
"""Largest distance of the QRS complex's onset and end from its steepest moment."""
LEVEL_MS = 40
"""Duration before the QRS onset whose mean is taken for 0 mV."""
P_MS = 20
"""Distance from the QRS onset, and from the beginning of the mean beat, within which no P wave is searched."""
T_MS = 40
"""Distance from the QRS end within which no T wave is searched."""
ST_MS = (0, 40, 60, 80)
"""Times after the QRS end at which ST is measured."""
Q_MV = -0.0401
"""Voltage below which a wave before R counts as a Q wave."""
TURN_MV = 0.0021
"""Least change from sample to sample for a wave to count as rising or falling."""
TINY_MV = 0.01
"""Value added to a denominator."""
LEAST_MV = 0.02
"""Root mean square below which a lead is flat, so that no wave is divided by it."""
VOLTAGES = (
    *("r", "s", "q", "lowest", "net", "qrs_area"),
    *(f"st_{ms}" for ms in ST_MS),
    *("st_slope", "t", "t_low", "t_area", "t_end", "p", "p_low", "p_area"),
)
"""Voltages of each lead that are also given as a ratio to the lead's root mean square."""
MOST_BEATS = 64
"""Largest number of beats whose intervals are measured; 10 s have 50 at 300 a minute."""

Leads = Float[Tensor, "batch 12"]
Column = Float[Tensor, "batch 1"]


@torch.no_grad()
def measure(
    signals: Float[Tensor, "batch 12 time"], mask: Bool[Tensor, "batch basis time"] | None, fs: float
) -> dict[str, Float[Tensor, "batch _"]]:
    """Measure signals: by name, a value of each lead or of the record, in mV, seconds or degrees.

    Masked samples do not count, nor do the zeros with which a short record was padded. A value is 0 where there is
    nothing to measure: in a lead that is masked throughout, or for intervals without two beats.
    """
    with torch.autocast(signals.device.type, enabled=False):
        signals = signals.double()  # so that the order of sums, in which machines differ, changes no measurement
        masked = None if mask is None else extend_mask(mask)
        signals = signals if masked is None else signals.masked_fill(masked, 0.0)
        recorded = before_padding(signals)
        visible = recorded[:, None].double()
        visible = visible if masked is None else visible.expand_as(signals).masked_fill(masked, 0.0)
        before, after = samples(BEFORE_MS, fs), samples(AFTER_MS, fs)
        beats = find_beats(steepness(signals, visible), before + after)
        beat, variance = mean_beat(signals, visible, beats.double(), before, after)
        onset, end = find_qrs(beat, before, fs)
        rms, in_beat = average(signals.square(), visible).squeeze(-1).sqrt(), waves(beat, onset, end, before, fs)
        return {
            "rms": rms,
            **rhythm(beats, recorded, fs),
            **in_beat,
            **{f"{name}_to_rms": in_beat[name] / rms.clamp(min=LEAST_MV) for name in VOLTAGES},
            **varying(variance.mean(dim=1), onset, end),
        }


def measurement_names(fs: float) -> list[str]:
    """Return the names of the measurements, in the order of `measure`. A changed measurement gets another name."""
    return list(measure_zeros(fs))


def count_columns() -> int:
    """Return the number of columns of `in_rows`, which is the same at every sampling rate."""
    return in_rows(measure_zeros(100)).shape[1]


def measure_zeros(fs: float) -> dict[str, Float[Tensor, "1 _"]]:
    """Return the measurements of a second without a signal."""
    return measure(torch.zeros(1, len(STANDARD_LEADS), round(fs)), None, fs)


def in_rows(measured: dict[str, Float[Tensor, "batch _"]]) -> Float32[Tensor, "batch measurement"]:
    """Join measurements into one row for each record."""
    return torch.cat(list(measured.values()), dim=1).float()


def samples(ms: float, fs: float) -> int:
    """Convert milliseconds to samples."""
    return round(ms * fs / 1000)


def before_padding(signals: Float[Tensor, "batch 12 time"]) -> Bool[Tensor, "batch time"]:
    """Return which samples come no later than the last at which any lead is not 0."""
    index = torch.arange(signals.shape[-1], device=signals.device)
    return index <= ((signals != 0).any(dim=1) * index).amax(dim=-1, keepdim=True)


def rhythm(beats: Float[Tensor, "batch time"], recorded: Bool[Tensor, "batch time"], fs: float) -> dict[str, Column]:
    """Measure intervals from beat to beat: duration, variation, and the difference from one to the next."""
    n_samples = beats.shape[-1]
    index = torch.arange(n_samples, device=beats.device)
    moments = torch.where(beats > 0, index, n_samples).sort(dim=-1).values[:, :MOST_BEATS]
    known = (moments[:, 1:] < n_samples).double()
    intervals = (moments[:, 1:] - moments[:, :-1]) / fs * known
    mean = average(intervals, known)
    changes, both = intervals[:, 1:] - intervals[:, :-1], known[:, 1:]
    return {
        "beats_a_second": average(beats, recorded.to(beats)) * fs,
        "rr_mean": mean,
        "rr_sd": average((intervals - mean).square(), known).sqrt(),
        "rr_rmssd": average(changes.square(), both).sqrt(),
        "rr_min": torch.where(known > 0, intervals, n_samples / fs).amin(dim=-1, keepdim=True),
        "rr_max": intervals.amax(dim=-1, keepdim=True),
    }


def find_qrs(
    beat: Float[Tensor, "batch 12 offset"], at: int, fs: float
) -> tuple[Int64[Tensor, "batch 1"], Int64[Tensor, "batch 1"]]:
    """Find the QRS onset and end: the samples nearest the steepest moment beyond which all leads are quiet."""
    steep = running(F.avg_pool1d, steepness(beat, torch.ones_like(beat[:, :1])), samples(QUIET_MS, fs))
    index = torch.arange(beat.shape[-1], device=beat.device)
    near = (index - at).abs() <= samples(NEAR_MS, fs)
    top = (steep * near).amax(dim=-1, keepdim=True)
    quiet = running(F.max_pool1d, steep, samples(QUIET_MS, fs)) <= QUIET * top
    first, last = at - samples(ONSET_MS, fs), at + samples(END_MS, fs)
    onset = torch.where(quiet & (index <= at), index, first).amax(dim=-1, keepdim=True).clamp(min=first)
    end = torch.where(quiet & (index >= at), index, last).amin(dim=-1, keepdim=True).clamp(max=last)
    return onset, end


def waves(
    beat: Float[Tensor, "batch 12 offset"],
    onset: Int64[Tensor, "batch 1"],
    end: Int64[Tensor, "batch 1"],
    at: int,
    fs: float,
) -> dict[str, Float[Tensor, "batch _"]]:
    """Measure times and voltages of P, QRS, ST and T."""
    index = torch.arange(beat.shape[-1], device=beat.device)
    level = average(beat, ((index > onset - samples(LEVEL_MS, fs)) & (index <= onset))[:, None].double())
    beat = beat - level
    qrs = ((index >= onset) & (index <= end))[:, None]
    r, r_at = peak(beat, qrs)
    until, since = qrs & (index <= r_at[..., None]), qrs & (index >= r_at[..., None])
    q, s = trough(beat, until), trough(beat, since)
    lowest, duration, change = torch.minimum(q, s), (end - onset) / fs, beat.diff(dim=-1)
    rises = torch.where(change.abs() > TURN_MV, change.sign(), 0.0)
    turns = (rises.diff(dim=-1) != 0) & qrs[..., 1:-1]
    height = r - lowest + TINY_MV
    by_lead = {
        "r": r,
        "s": s,
        "q": q,
        "lowest": lowest,
        "net": r + lowest,
        "qrs_area": (beat * qrs).sum(dim=-1) / fs,
        "r_time": (r_at - onset) / fs,
        **after_qrs(beat, end, height, fs),
        **before_qrs(beat, onset, fs),
        "r_share": r / height,
        "turns": turns.sum(dim=-1).double(),
        "q_time": ((beat < Q_MV) & until).sum(dim=-1) / fs,
    }
    return {**by_lead, "qrs": duration, "qrs_begins": (at - onset) / fs, **criteria(by_lead, duration)}


def after_qrs(
    beat: Float[Tensor, "batch 12 offset"], end: Int64[Tensor, "batch 1"], height: Leads, fs: float
) -> dict[str, Leads]:
    """Measure ST and T; `height` is that of the QRS complex."""
    where = (torch.arange(beat.shape[-1], device=beat.device) >= end + samples(T_MS, fs))[:, None]
    st = {f"st_{ms}": value_at(beat, end + samples(ms, fs)) for ms in ST_MS}
    t, low, (size, size_at) = peak(beat, where)[0], trough(beat, where), peak(beat.abs(), where)
    return {
        **st,
        "st_slope": st["st_80"] - st["st_0"],
        "t": t,
        "t_low": low,
        "t_area": (beat * where).sum(dim=-1) / fs,
        "t_time": (size_at - end) / fs,
        "t_end": beat[..., -1],
        "t_to_qrs": size * torch.where(t >= -low, 1.0, -1.0) / height,
    }


def before_qrs(beat: Float[Tensor, "batch 12 offset"], onset: Int64[Tensor, "batch 1"], fs: float) -> dict[str, Leads]:
    """Measure P."""
    index, gap = torch.arange(beat.shape[-1], device=beat.device), samples(P_MS, fs)
    where = ((index >= gap) & (index < (onset - gap).clamp(min=samples(3 * P_MS, fs))))[:, None]
    p, p_at = peak(beat, where)
    return {
        "p": p,
        "p_low": trough(beat, where),
        "p_area": (beat * where).sum(dim=-1) / fs,
        "p_time": (onset - p_at) / fs,
    }


def criteria(by_lead: dict[str, Leads], duration: Column) -> dict[str, Column]:
    """Compute criteria of hypertrophy and the axis (Lewis, 1914; Sokolow, 1949; Casale, 1985)."""

    def of(name: str, lead: str) -> Column:
        index = STANDARD_LEADS.index(lead)
        return by_lead[name][:, index : index + 1]

    sokolow = torch.maximum(of("r", "V5"), of("r", "V6")) - of("lowest", "V1")
    cornell = of("r", "aVL") - of("lowest", "V3")
    axis, t_axis = (degrees(of(name, "aVF"), of(name, "I")) for name in ("net", "t_area"))
    apart = (axis - t_axis).abs()
    return {
        "sokolow": sokolow,
        "cornell": cornell,
        "cornell_product": cornell * duration,
        "lewis": of("net", "I") - of("net", "III"),
        "total": (by_lead["r"] - by_lead["lowest"]).sum(dim=1, keepdim=True),
        "axis": axis,
        "t_axis": t_axis,
        "axes_apart": torch.minimum(apart, 360 - apart),
        "r_to_s_v1": of("r", "V1") / (TINY_MV - of("lowest", "V1").clamp(max=0)),
    }


def degrees(down: Column, left: Column) -> Column:
    """Compute the angle below the horizontal, in degrees."""
    return torch.atan2(down.float(), left.float()).rad2deg()  # no runtime has it in float64


def varying(
    variance: Float[Tensor, "batch offset"], onset: Int64[Tensor, "batch 1"], end: Int64[Tensor, "batch 1"]
) -> dict[str, Column]:
    """Compute how much single beats differ from their mean before the QRS complex, in it and after it, in mV."""
    index = torch.arange(variance.shape[-1], device=variance.device)
    parts = {"before": index < onset, "in": (index >= onset) & (index <= end), "after": index > end}
    return {f"varies_{name}_qrs": average(variance, part.double()).sqrt() for name, part in parts.items()}


def average(values: Float[Tensor, "*batch time"], weights: Float[Tensor, "*_ time"]) -> Float[Tensor, "*batch 1"]:
    """Compute a weighted mean over time; 0 where all weights are 0."""
    return (values * weights).sum(dim=-1, keepdim=True) / weights.sum(dim=-1, keepdim=True).clamp(min=1)


def peak(
    beat: Float[Tensor, "batch 12 offset"], where: Bool[Tensor, "batch _ offset"]
) -> tuple[Leads, Int64[Tensor, "batch 12"]]:
    """Return the highest value where `where` is true, and its index; 0 where it is nowhere true."""
    candidates = beat.masked_fill(~where, -torch.inf)
    index = tilted(candidates).argmax(dim=-1)
    highest = candidates.gather(2, index[..., None]).squeeze(2)
    return torch.where(highest.isinf(), 0.0, highest), index


def trough(beat: Float[Tensor, "batch 12 offset"], where: Bool[Tensor, "batch _ offset"]) -> Leads:
    """Return the lowest value where `where` is true; 0 where it is nowhere true."""
    return -peak(-beat, where)[0]


def value_at(beat: Float[Tensor, "batch 12 offset"], index: Int64[Tensor, "batch 1"]) -> Leads:
    """Return each lead's value at an index, or at the last one if it lies beyond."""
    within = index.clamp(max=beat.shape[-1] - 1)
    return beat.gather(2, within[..., None].expand(-1, beat.shape[1], -1)).squeeze(2)
