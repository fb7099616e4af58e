"""Typicality of a record: how far its signal is from the training records, and when that is too far.

Four parts of a signal are described by a few numbers each. The distance of a part is Mahalanobis' from the mean of the
training records (Lee et al., NeurIPS 2018), and the score of a record is its largest distance. The unit is a distance
that at most 1 % of ordinary records exceed. It is chosen on the validation records by split conformal prediction
(Vovk et al., 2005), whatever the distribution of the distances is.

The same distance of the encoder's pooled features was tried on PTB-XL, and did not help. The table gives the AUROC of
separating 479 records that were changed after preprocessing from the records themselves. With the relative Mahalanobis
distance of the features (Ren et al., 2021) it is below 0.8 for each of these faults.

======================  =====  =========  ========
fault                   parts  features   all five
======================  =====  =========  ========
leads shuffled          0.999  0.778      0.998
chest leads reversed    0.993  0.811      0.988
five times too small    0.999  0.960      0.998
stretched to twice      1.000  0.729      1.000
shortened to half       0.995  0.928      0.996
======================  =====  =========  ========
"""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from math import ceil
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64
from pydantic import FiniteFloat, PositiveFloat, PositiveInt, model_validator

from data_prep.leads import BASIS_INDEX, BASIS_LEADS
from ecgmtl.settings import Settings

FALSE_ALARMS = 0.01
"""Largest fraction of ordinary records that are called unlike the training records."""
FEWEST = round(1 / FALSE_ALARMS) - 1
"""Number of validation records from which on a bound with this fraction can be chosen."""
SCALE_AT = 0.995
"""Fraction of the training records by whose distance each part is scaled, so that parts can be compared."""
RIDGE = 1e-2
"""Ridge added to the correlation matrix of a part's numbers, so that rarely varying directions do not dominate."""
DIGITS = 6
"""Significant digits of stored numbers."""
UPRIGHT = [BASIS_LEADS.index(lead) for lead in ("I", "II", "V4", "V5", "V6")]
"""Leads whose QRS complex points upward in most hearts."""
LAGS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
"""Seconds between samples whose differences are measured."""
EDGES = (0.5, 1, 2, 4, 6, 8, 11, 15, 20, 26, 33, 40)
"""Edges of the bands of the spectrum, in hertz."""
TINY = 1e-3
"""Millivolts added before a logarithm or a division, so that flat leads have finite numbers."""
LARGEST_CORRELATION = 0.99
"""Correlation at which Fisher's transformation is cut off."""
BATCH = 32
"""Number of records that are described at a time. More do not fit a cache and take longer."""

Signals = Float32[np.ndarray, "record lead time"]
Batches = Iterable[Float32[np.ndarray, "_ lead time"]]
Basis = Float[np.ndarray, "record basis time"]
Numbers = Float[np.ndarray, "record number"]


def describe_size(basis: Basis, _fs: float) -> Numbers:
    """Return the median over the leads of the logarithm of their span."""
    return np.median(np.log(np.ptp(basis, axis=2) + TINY), axis=1, keepdims=True)


def describe_course(basis: Basis, fs: float) -> Numbers:
    """Return the shape of the signal in time: differences over several lags, and the bands of the spectrum."""
    lags = [max(round(lag * fs), 1) for lag in LAGS]
    squares, sizes = np.empty((2, len(basis), len(lags)))
    for index, lag in enumerate(lags):
        step = basis[:, :, lag:] - basis[:, :, :-lag]
        squares[:, index] = np.log(mean_square(step).mean(axis=1) + TINY**2)
        sizes[:, index] = np.log(np.abs(step, out=step).mean(axis=(1, 2)) + TINY)
    first = squares[:, :1]
    return np.concatenate([squares[:, 1:] - first, sizes - first / 2, describe_spectrum(basis, fs)], axis=1)


def describe_spectrum(basis: Basis, fs: float) -> Numbers:
    """Return the logarithm of each band's share of the power of all leads."""
    n_samples = basis.shape[2]
    windowed = basis * np.hanning(n_samples)  # in float64, of which NumPy's transform is several times as fast
    power = (np.abs(np.fft.rfft(windowed)) ** 2).sum(axis=1)
    hertz = np.fft.rfftfreq(n_samples, 1 / fs)
    bands = [power[:, (hertz >= low) & (hertz < high)].sum(axis=1) for low, high in pairwise(EDGES)]
    return np.log(np.stack(bands, axis=1) / (sum(bands)[:, None] + TINY**2) + 1e-5)


def describe_leads(basis: Basis, _fs: float) -> Numbers:
    """Return how the leads relate, whatever their sizes: correlations, and the skewness of each lead and its slope."""
    correlations = basis @ basis.transpose(0, 2, 1) / basis.shape[2]
    deviations = np.sqrt(np.diagonal(correlations, axis1=1, axis2=2))
    correlations = correlations / (deviations[:, :, None] * deviations[:, None, :] + TINY**2)
    rows, columns = np.triu_indices(len(BASIS_INDEX), 1)
    bounded = correlations[:, rows, columns].clip(-LARGEST_CORRELATION, LARGEST_CORRELATION)
    return np.concatenate([np.arctanh(bounded), skewness(basis), skewness(np.diff(basis))], axis=1)


def describe_polarity(basis: Basis, _fs: float) -> Numbers:
    """Return the mean skewness of the leads that point upward in most hearts, and that of their slopes."""
    upright = basis[:, UPRIGHT]
    return np.stack([skewness(values).mean(axis=1) for values in (upright, np.diff(upright))], axis=1)


def skewness(values: Basis) -> Numbers:
    """Return asinh of the skewness about 0 of each row."""
    cubes = np.einsum("rit,rit,rit->ri", values, values, values) / values.shape[2]
    return np.arcsinh(cubes / (np.sqrt(mean_square(values)) ** 3 + TINY**3))


def mean_square(values: Basis) -> Numbers:
    """Return the mean square of each row."""
    return np.einsum("rit,rit->ri", values, values) / values.shape[2]


DESCRIBE: dict[str, Callable[[Basis, float], Numbers]] = {
    "size": describe_size,
    "course": describe_course,
    "leads": describe_leads,
    "polarity": describe_polarity,
}


N_NUMBERS = {
    "size": 1,
    "course": 2 * len(LAGS) - 1 + len(EDGES) - 1,
    "leads": len(BASIS_INDEX) * (len(BASIS_INDEX) - 1) // 2 + 2 * len(BASIS_INDEX),
    "polarity": 2,
}
"""Number of numbers that describe each part."""


CAUSES = {
    "size": "the size of its leads; check the unit and the gain.",
    "course": "its course in time; check the sampling rate, the filters of the recorder, and noise.",
    "leads": "how its leads relate; check their order and the electrodes.",
    "polarity": "the direction of its waves; check whether the signal is upside down.",
}
"""Text that says what is unusual about the record, and what to check, by part of its typicality."""


class PartDistribution(Settings):
    """Distribution of one part's numbers over the training records."""

    mean: tuple[FiniteFloat, ...]
    whitening: tuple[tuple[FiniteFloat, ...], ...]
    """Matrix that makes the numbers uncorrelated, by row of the numbers, divided by the part's scale."""

    @model_validator(mode="after")
    def sizes_agree(self) -> "PartDistribution":
        if {len(row) for row in self.whitening} != {len(self.mean)} or len(self.whitening) != len(self.mean):
            raise ValueError(f"whitening should be a square matrix for {len(self.mean)} numbers")
        return self

    def distances(self, numbers: Numbers) -> Float64[np.ndarray, " record"]:
        """Return the Mahalanobis distance of each record, in the part's scale."""
        return np.linalg.norm((numbers - np.array(self.mean)) @ np.array(self.whitening), axis=1)


class Scores(NamedTuple):
    """Scores of several records."""

    values: Float64[np.ndarray, " record"]
    """Score of each record. Above 1 it is unlike the training records."""
    parts: tuple[str, ...]
    """Part of each record that is the farthest."""


class Unlike(NamedTuple):
    """Records that are unlike the training records."""

    n_records: int
    part: str
    """Part in which most of them are the most unusual."""


class Typicality(Settings):
    """Distribution of the training records, and the distance from which on a record is unlike them."""

    fs: PositiveFloat
    """Sampling rate of the signals in hertz."""
    parts: dict[str, PartDistribution]
    bound: PositiveFloat
    """Largest distance of a record that is like the training records."""
    n_train: PositiveInt
    """Number of training records."""
    n_validation: PositiveInt
    """Number of validation records that the bound was chosen on."""

    @model_validator(mode="after")
    def parts_fit(self) -> "Typicality":
        sizes = {name: len(part.mean) for name, part in self.parts.items()}
        if sizes != N_NUMBERS:
            raise ValueError(f"typicality should describe {N_NUMBERS}; found {sizes}")
        return self

    def scores(self, signals: Signals) -> Scores:
        """Return the score of each record. Signals are in mV, as the model reads them."""
        return self.scores_of(describe([signals], self.fs))

    def scores_of(self, numbers: dict[str, Numbers]) -> Scores:
        """Return the score of each record from the numbers that describe it."""
        distances = np.stack([part.distances(numbers[name]) for name, part in self.parts.items()], axis=1) / self.bound
        names = tuple(self.parts)
        return Scores(distances.max(axis=1), tuple(names[index] for index in distances.argmax(axis=1)))


def count_unlike(typicality: Typicality, batches: Batches) -> Unlike:
    """Count the records of the batches that are unlike the training records."""
    scores = typicality.scores_of(describe(batches, typicality.fs))
    parts = Counter(part for part, score in zip(scores.parts, scores.values, strict=True) if score > 1)
    return Unlike(parts.total(), next((part for part, _ in parts.most_common(1)), ""))


def describe(batches: Batches, fs: float) -> dict[str, Numbers]:
    """Return the numbers of each part, for all records of the batches. Empty where there are none."""
    parts = (signals[first : first + BATCH] for signals in batches for first in range(0, len(signals), BATCH))
    described = [describe_batch(signals, fs) for signals in parts]
    return {name: np.concatenate([numbers[name] for numbers in described]) for name in DESCRIBE} if described else {}


def describe_batch(signals: Signals, fs: float) -> dict[str, Numbers]:
    """Return the numbers of each part. The zeros with which a short record was padded do not count."""
    n_padded = (signals != 0).any(axis=1)[:, ::-1].argmax(axis=1)
    n_used = signals.shape[2] - np.where(n_padded < fs, 0, n_padded)  # shorter zeros may be a record's own
    numbers: dict[str, Numbers] = {}
    for end in np.unique(n_used):
        rows = np.flatnonzero(n_used == end)
        basis = signals[rows][:, BASIS_INDEX, :end]
        basis -= basis.mean(axis=2, keepdims=True)
        for name, describe_part in DESCRIBE.items():
            values = describe_part(basis, fs)
            numbers.setdefault(name, np.empty((len(signals), values.shape[1])))[rows] = values
    return numbers


def fit_typicality(train: Batches, validation: Batches, fs: float) -> Typicality | None:
    """Fit the distribution of the training records, and choose the bound on the validation records, given in batches.

    None where there are fewer than 99 validation records, because no bound with 1 % of false alarms can be chosen.
    """
    fitted_on, chosen_on = describe(train, fs), describe(validation, fs)
    n_train, n_validation = (len(numbers.get("size", ())) for numbers in (fitted_on, chosen_on))
    if n_train < 2 or n_validation < FEWEST:
        return None
    parts = {name: fit_part(numbers) for name, numbers in fitted_on.items()}
    unbounded = Typicality(fs=fs, parts=parts, bound=1, n_train=n_train, n_validation=n_validation)
    distances = np.sort(unbounded.scores_of(chosen_on).values)
    rank = ceil((len(distances) + 1) * (1 - FALSE_ALARMS))
    return unbounded.model_copy(update={"bound": significant(distances[rank - 1])})


def fit_part(numbers: Numbers) -> PartDistribution:
    """Fit the distribution of one part's numbers."""
    mean, deviations = numbers.mean(axis=0), numbers.std(axis=0) + TINY
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov((numbers / deviations).T)))
    whitening = vectors / np.sqrt(values + RIDGE) / deviations[:, None]
    scale = np.quantile(np.linalg.norm((numbers - mean) @ whitening, axis=1), SCALE_AT)
    return PartDistribution(
        mean=tuple(map(significant, mean)),
        whitening=tuple(tuple(map(significant, row)) for row in whitening / max(scale, TINY)),
    )


def significant(value: float) -> float:
    """Round a number to DIGITS significant digits, which keeps files small and alike."""
    return float(f"{value:.{DIGITS}g}")
