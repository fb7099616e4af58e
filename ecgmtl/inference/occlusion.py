"""Occlusion: how far each part of a signal moves a model's output (Zeiler and Fergus, 2014).

A part is replaced by something neutral, and the fall of the logit is the part's importance: positive where the part
speaks for the label, negative where it speaks against it. Only forward passes are needed, so it works for exports too.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from data_prep.leads import BASIS_LEADS, STANDARD_LEADS, derive_limb_leads
from ecgmtl.inference.predictor import Predictor

WINDOW = 0.4
"""Length of an occluded part, in seconds: a QRS complex with what is around it, or a T wave."""
STEP = 0.2
"""Distance between the starts of two occluded parts, in seconds."""
BATCH = 32
"""Number of copies that are run at once."""


@dataclass(frozen=True)
class Occlusion:
    """Importance of parts of one record for each label, in units of the logit."""

    logits: Float32[np.ndarray, " label"]
    """Output for the whole signal."""
    step: float
    """Length of a time step, in seconds."""
    time: Float32[np.ndarray, "step label"]
    """Mean importance of the windows that cover a time step."""
    leads: Float32[np.ndarray, "basis label"]
    """Importance of each of the 8 independent leads. The other four limb leads follow I and II."""


def occlude(predictor: Predictor, signal: Float32[np.ndarray, "lead time"]) -> Occlusion:
    """Measure the importance of each 0.2 s of a prepared signal in mV, and of each lead.

    In time, a window of all leads is replaced by the straight line between its ends, which keeps the identities between
    leads. A lead is replaced by 0 mV.
    """
    fs, n_samples = predictor.metadata.preprocess.fs, signal.shape[1]
    step, window = max(round(STEP * fs), 1), max(round(WINDOW * fs), 2)
    starts = np.arange(0, max(n_samples - window, 0) + 1, step)
    copies = [without_window(signal, int(start), int(start) + window) for start in starts]
    copies += [without_lead(signal, lead) for lead in BASIS_LEADS]
    whole = logits(predictor, signal[None])
    falls = whole - logits(predictor, np.stack(copies))
    time = average(falls[: len(starts)], starts // step, -(-window // step), -(-n_samples // step))
    return Occlusion(whole[0], step / fs, time, falls[len(starts) :])


def logits(predictor: Predictor, signals: Float32[np.ndarray, "copy lead time"]) -> Float32[np.ndarray, "copy label"]:
    """Compute the logits in batches."""
    parts = range(0, len(signals), BATCH)
    return np.concatenate([predictor.logits(np.ascontiguousarray(signals[i : i + BATCH])) for i in parts])


def without_window(signal: Float32[np.ndarray, "lead time"], start: int, stop: int) -> Float32[np.ndarray, "lead time"]:
    """Return the signal with straight lines from `start` to `stop`, or level ones at its ends."""
    copy, last = signal.copy(), signal.shape[1] - 1
    left, right = max(start - 1, 0), min(stop, last)
    way = np.linspace(0, 1, right - left + 1, dtype=np.float32)
    ends = signal[:, [left]], signal[:, [right]]
    copy[:, left : right + 1] = ends[0] + (ends[1] - ends[0]) * way
    return copy


def without_lead(signal: Float32[np.ndarray, "lead time"], lead: str) -> Float32[np.ndarray, "lead time"]:
    """Return the signal with one of the independent leads at 0 mV, and the limb leads that follow from it."""
    rows = {name: signal[STANDARD_LEADS.index(name)] for name in BASIS_LEADS}
    rows[lead] = np.zeros_like(rows[lead])
    derive_limb_leads(rows)
    return np.stack([rows[name] for name in STANDARD_LEADS]).astype(np.float32)


def average(
    falls: Float32[np.ndarray, "window label"], first: Int64[np.ndarray, " window"], n_covered: int, n_steps: int
) -> Float32[np.ndarray, "step label"]:
    """Average the importance of windows over the time steps that they cover."""
    total = np.zeros((n_steps, falls.shape[1]), np.float32)
    count = np.zeros((n_steps, 1), np.float32)
    for index, fall in zip(first.tolist(), falls, strict=True):
        total[index : index + n_covered] += fall
        count[index : index + n_covered] += 1
    return total / np.maximum(count, 1)
