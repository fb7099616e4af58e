"""One artificial 12-lead ECG: a heart vector of Gaussian waves, projected onto the leads by Dower's matrix.

Each wave is a bump in time with a direction in Frank's coordinates: x to the left, y downwards, z to the back, in mV
(McSharry et al., IEEE TBME 2003, for the sum of Gaussians; Dower et al., J Electrocardiol 1980, for the matrix). A
statement changes waves as it does in patients: an infarct turns the first forces away from it, and a bundle branch
block adds late ones.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int16

from data_prep.units import LARGEST_SAMPLE

DOWER = np.array([
    [0.632, -0.235, 0.059],  # I
    [0.235, 1.066, -0.132],  # II
    [-0.515, 0.157, -0.917],  # V1
    [0.044, 0.164, -1.387],  # V2
    [0.882, 0.098, -1.277],  # V3
    [1.213, 0.127, -0.601],  # V4
    [1.125, 0.127, -0.086],  # V5
    [0.831, 0.076, 0.230],  # V6
])  # fmt: skip

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Wave:
    """A bump of the heart vector: center in seconds after the R peak, standard deviation, direction in mV."""

    at: float
    width: float
    vector: Vector
    with_rate: bool = False
    """Whether the center moves with the square root of the beat's length, as that of the T wave does (Bazett)."""


NORMAL = {
    "P": Wave(-0.165, 0.022, (0.05, 0.10, -0.01)),
    "Q": Wave(-0.026, 0.009, (-0.14, 0.02, -0.22)),
    "R": Wave(0.0, 0.012, (1.05, 0.80, 0.25)),
    "S": Wave(0.028, 0.011, (-0.12, -0.12, 0.42)),
    "ST": Wave(0.12, 0.045, (0.0, 0.0, -0.02)),
    "T0": Wave(0.25, 0.050, (0.13, 0.09, -0.10), with_rate=True),
    "T": Wave(0.30, 0.032, (0.18, 0.13, -0.13), with_rate=True),
}
"""The waves of a healthy beat. T has two bumps because it rises more slowly than it falls."""

CHANGES: dict[str, dict[str, Wave]] = {
    "IMI": {
        "Q": Wave(-0.024, 0.014, (-0.05, -0.62, -0.12)),
        "ST": Wave(0.12, 0.055, (-0.04, 0.16, 0.03)),
        "T": Wave(0.30, 0.036, (0.10, -0.26, -0.10), with_rate=True),
        "T0": Wave(0.25, 0.05, (0.06, -0.05, -0.08), with_rate=True),
    },
    "ASMI": {
        "Q": Wave(-0.024, 0.014, (-0.08, 0.05, 0.42)),
        "ST": Wave(0.12, 0.055, (0.03, 0.0, -0.16)),
        "T": Wave(0.30, 0.036, (0.02, 0.10, 0.20), with_rate=True),
        "T0": Wave(0.25, 0.05, (0.05, 0.06, -0.06), with_rate=True),
    },
    "ALMI": {
        "Q": Wave(-0.024, 0.014, (-0.62, 0.10, 0.10)),
        "ST": Wave(0.12, 0.055, (0.15, 0.0, -0.05)),
        "T": Wave(0.30, 0.036, (-0.26, 0.10, 0.02), with_rate=True),
        "T0": Wave(0.25, 0.05, (-0.02, 0.06, -0.05), with_rate=True),
    },
    "NDT": {
        "T": Wave(0.30, 0.034, (0.03, 0.02, -0.03), with_rate=True),
        "T0": Wave(0.25, 0.05, (0.02, 0.02, -0.03), with_rate=True),
    },
    "ISC_": {
        "ST": Wave(0.12, 0.060, (-0.14, -0.10, 0.06)),
        "T": Wave(0.30, 0.036, (-0.22, -0.14, 0.08), with_rate=True),
        "T0": Wave(0.25, 0.05, (-0.08, -0.06, 0.02), with_rate=True),
    },
    "STD_": {
        "ST": Wave(0.13, 0.070, (-0.18, -0.14, 0.08)),
        "T0": Wave(0.25, 0.05, (-0.04, -0.03, 0.0), with_rate=True),
    },
    "LVH": {
        "R": Wave(0.0, 0.014, (1.95, 0.95, 0.85)),
        "S": Wave(0.030, 0.013, (-0.10, -0.10, 0.85)),
        "ST": Wave(0.12, 0.055, (-0.12, -0.04, -0.08)),
        "T": Wave(0.30, 0.036, (-0.24, -0.05, -0.16), with_rate=True),
        "T0": Wave(0.25, 0.05, (-0.04, 0.0, -0.10), with_rate=True),
    },
    "CLBBB": {
        "Q": Wave(-0.030, 0.016, (0.25, 0.12, 0.12)),
        "R": Wave(0.006, 0.020, (0.85, 0.35, 0.75)),
        "S": Wave(0.062, 0.020, (0.85, 0.25, 0.70)),
        "ST": Wave(0.16, 0.055, (-0.14, -0.05, -0.16)),
        "T": Wave(0.33, 0.042, (-0.30, -0.10, -0.30), with_rate=True),
        "T0": Wave(0.27, 0.05, (-0.10, -0.03, -0.12), with_rate=True),
    },
    "CRBBB": {
        "S": Wave(0.066, 0.019, (-0.60, -0.05, -0.62)),
        "ST": Wave(0.15, 0.045, (0.02, 0.0, 0.06)),
        "T": Wave(0.31, 0.034, (0.20, 0.12, 0.14), with_rate=True),
    },
    "LAFB": {
        "Q": Wave(-0.026, 0.010, (0.02, 0.25, -0.15)),
        "R": Wave(0.004, 0.014, (0.95, -0.75, 0.30)),
    },
    "1AVB": {"P": Wave(-0.275, 0.022, (0.05, 0.10, -0.01))},
}
"""Waves of a severe case that replace the normal ones, by PTB-XL's statement."""

ECTOPIC = {
    "Q": Wave(-0.03, 0.030, (-0.30, 0.75, -0.60)),
    "R": Wave(0.03, 0.034, (-0.55, 1.10, -0.85)),
    "T": Wave(0.28, 0.060, (0.45, -0.60, 0.50)),
}
"""Waves of a ventricular beat: wide, without a P wave, T opposite to the QRS."""


def waves_of(statements: list[str], severity: float) -> dict[str, Wave]:
    """Return the waves of a beat with these statements, from slight (0) to severe (1)."""
    waves = dict(NORMAL)
    for statement in statements:
        for name, full in CHANGES.get(statement, {}).items():
            waves[name] = between(waves[name], full, severity)
    if "AFIB" in statements:
        del waves["P"]
    return waves


def between(start: Wave, end: Wave, part: float) -> Wave:
    def mix(a: float, b: float) -> float:
        return (1 - part) * a + part * b

    x, y, z = (mix(a, b) for a, b in zip(start.vector, end.vector, strict=True))
    return replace(end, at=mix(start.at, end.at), width=mix(start.width, end.width), vector=(x, y, z))


def synthesize(
    statements: list[str], fs: int, seconds: float, rng: np.random.Generator
) -> Int16[np.ndarray, "time 12"]:
    """Return an ECG with the given PTB-XL statements, in µV, with the leads in PTB-XL's order.

    The stored integers keep III = II - I exactly, and Goldberger's identities to the rounding of 1 µV.
    """
    time = np.arange(round(fs * seconds)) / fs
    heart = beats(statements, time, seconds, rng) + fibrillation(statements, time, rng)
    body = DOWER * rng.normal(1.0, 0.08, DOWER.shape)  # no two chests are alike
    basis = heart @ body.T + noise(time, fs, rng)
    return all_leads(np.rint(1000 * basis).astype(np.int64))


def beats(statements: list[str], time: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Return the heart vector over time, in mV: (time, 3)."""
    peaks, lengths, ectopic = rhythm(statements, seconds, rng)
    usual = personal(waves_of(statements, severity=rng.uniform(0.45, 1.0)), rng)
    vector = np.zeros((len(time), 3))
    for is_ectopic, waves in ((False, usual), (True, personal(ECTOPIC, rng))):
        chosen = ectopic == is_ectopic
        if not chosen.any():
            continue
        for wave in waves.values():
            stretch = np.sqrt(lengths[chosen]) if wave.with_rate else 1.0
            centers = peaks[chosen] + wave.at * stretch
            strength = rng.normal(1.0, 0.03, chosen.sum())
            bumps = np.exp(-0.5 * ((time[:, None] - centers) / wave.width) ** 2) @ strength
            vector += bumps[:, None] * np.array(wave.vector)
    return vector


def personal(waves: dict[str, Wave], rng: np.random.Generator) -> dict[str, Wave]:
    """Return the same waves in one patient, with a size, an electrical axis, and small differences of each wave."""
    size, tilt = rng.lognormal(0.0, 0.18), rng.normal(0.0, 0.22)
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0.0], [np.sin(tilt), np.cos(tilt), 0.0], [0.0, 0.0, 1.0]])

    def own(wave: Wave) -> Wave:
        x, y, z = (size * rng.normal(1.0, 0.12, 3) * (turn @ np.array(wave.vector))).tolist()
        return replace(wave, at=wave.at * rng.normal(1, 0.04), width=wave.width * rng.normal(1, 0.06), vector=(x, y, z))

    return {name: own(wave) for name, wave in waves.items()}


def rhythm(statements: list[str], seconds: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Sample the times of the R peaks, the lengths of the beats before them in seconds, and which are ventricular."""
    rate = next((rng.uniform(*RATES[s]) for s in statements if s in RATES), rng.uniform(60, 95))
    n_beats = int(2 * seconds * rate / 60) + 4
    scatter = 0.22 if "AFIB" in statements else rng.uniform(0.01, 0.04)
    lengths = 60 / rate * np.clip(rng.normal(1.0, scatter, n_beats), 0.5, 1.7)
    if "AFIB" not in statements:
        breath = 2 * np.pi * (np.cumsum(lengths) * rng.uniform(0.2, 0.3) + rng.uniform())
        lengths *= 1 + rng.uniform(0.0, 0.05) * np.sin(breath)
    ectopic = np.zeros(n_beats, bool)
    if "PVC" in statements:
        indices = np.arange(rng.integers(2, 5), n_beats - 1, rng.integers(3, 7))
        ectopic[indices] = True
        lengths[indices + 1] += lengths[indices] * 0.38  # the pause compensates for the early beat
        lengths[indices] *= 0.62
    return np.cumsum(lengths) - rng.uniform(0.2, 1.2), lengths, ectopic


RATES = {"SBRAD": (38.0, 55.0), "STACH": (102.0, 140.0), "AFIB": (65.0, 130.0)}
"""Range of beats a minute, by statement of rhythm."""


def fibrillation(statements: list[str], time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the waves of the atria, five to eight a second, in place of P: (time, 3) mV."""
    if "AFIB" not in statements:
        return np.zeros((len(time), 3))
    phase = (
        2 * np.pi * np.cumsum(np.full(len(time), time[1]) * (rng.uniform(5, 8) + 0.6 * np.sin(2 * np.pi * 0.4 * time)))
    )
    direction = rng.uniform(0.5, 1.3) * np.array([0.01, 0.05, -0.06])
    return (np.sin(phase) + 0.4 * np.sin(2 * phase))[:, None] * direction


def noise(time: np.ndarray, fs: int, rng: np.random.Generator) -> Float[np.ndarray, "time 8"]:
    """Sample baseline wander, muscle noise, and mains hum where the sampling rate allows it, in mV."""
    slow = rng.uniform(0.05, 0.5, (3, 1))
    wander = np.sin(2 * np.pi * slow * time + rng.uniform(0, 2 * np.pi, (3, 1))).T @ rng.normal(0, 0.03, (3, 8))
    level = rng.uniform(0.003, 0.02)
    muscle = level * rng.normal(size=(len(time), 8))
    if fs > 2 * 60:
        muscle += rng.uniform(0, 0.008) * np.sin(2 * np.pi * 50 * time + rng.uniform(0, 6))[:, None]
    return rng.uniform(0.3, 1.6) * wander + muscle


def all_leads(basis: np.ndarray) -> Int16[np.ndarray, "time 12"]:
    """Return I, II, III, aVR, aVL, aVF, V1 to V6 from I, II, V1 to V6, in whole µV."""
    one, two = basis[:, 0], basis[:, 1]
    limbs = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    leads = np.column_stack([*limbs, basis[:, 2:]])
    return np.clip(leads, -LARGEST_SAMPLE, LARGEST_SAMPLE).astype(np.int16)
