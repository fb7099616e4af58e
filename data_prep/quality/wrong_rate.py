"""A sampling rate that is probably half or twice the true one, so that all waves last twice or half as long.

The mean square and the mean size of a lead's steps over several lags depend on how long its waves last. A linear
function of the logarithms, fitted by logistic regression, distinguishes records from the same ones read at half their
rate, and a second one distinguishes them from those read at twice their rate. The value is the log odds of equally many
of both. A signal that is not an ECG at all may have any odds. So the logarithms must also be near to those of ECGs read
at the wrong rate, by Mahalanobis' distance. They depend on nothing above some 25 Hz, where a record read at half its
rate would be empty.

==============================  =====================  ============  ================
judged to be wrong, of PTB-XL   folds 1 to 8 left out  fold 9        fold 9 at 500 Hz
==============================  =====================  ============  ================
as recorded                     6 of 3,356 (0.2 %)     1 of 479      0 of 267
read at half the rate           96.4 %                 97.1 %        95.9 %
read at twice the rate          95.5 %                 94.8 %        95.1 %
read at 4/5 of the rate         2.9 %                  3.3 %         3.7 %
==============================  =====================  ============  ================

The false alarms are mostly hearts with wide complexes (left bundle branch block, a pacemaker), or fast ones.
`docs/make/wrong_rate.py` fits what `wrong_rate.json` holds, and prints these figures.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from data_prep.filters import resample
from data_prep.leads import BASIS_LEADS
from data_prep.quality.check_input import CheckInput
from data_prep.quality.finding import Finding, Severity

BOUND = 2.5
"""Log odds above which a rate is probably wrong."""
FARTHEST = 80.0
"""Squared distance above which a signal is not an ECG read at a wrong rate. Beats simulated with bell curves have
119, white noise, random walks and sines above 160."""
FITTED = Path(__file__).with_name("wrong_rate.json")
RATE = 100
"""Samples a second of the leads that are compared."""
LAGS = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64)
"""Samples between which steps are measured: 0.01 to 0.64 s."""
N_SMOOTHED = 4
"""Number of times that each sample is averaged with the next one. What is above 25 Hz loses three quarters or more."""
FEWEST = 4
"""Number of independent leads that must have been measured for a judgment."""
TINY = 1e-3
"""Added before a division or a logarithm, in mV and in standard deviations, so that flat leads have finite numbers."""


class WrongRate(NamedTuple):
    """A stated rate that is wrong by a factor, and how that shows."""

    factor: float
    """The true rate divided by the stated one."""
    weights: Float64[np.ndarray, " number"]
    """Weight of each number of `describe` in the log odds."""
    intercept: float
    mean: Float64[np.ndarray, " number"]
    """Mean of the numbers over ECGs read at the stated rate."""
    precision: Float64[np.ndarray, "number number"]
    """Inverse of their covariance."""

    def odds(self, numbers: Float64[np.ndarray, " number"]) -> float:
        """Return the log odds that the stated rate is wrong."""
        return float(numbers @ self.weights) + self.intercept

    def is_likely(self, numbers: Float64[np.ndarray, " number"]) -> bool:
        """Return whether the stated rate is probably wrong by the factor."""
        from_mean = numbers - self.mean
        return self.odds(numbers) > BOUND and float(from_mean @ self.precision @ from_mean) < FARTHEST


@cache
def wrong_rates() -> tuple[WrongRate, ...]:
    """Return the wrong rates that the check can detect."""
    fitted = json.loads(FITTED.read_text(encoding="utf-8"))
    return tuple(
        WrongRate(
            one["factor"],
            np.array(one["weights"]),
            one["intercept"],
            np.array(one["mean"]),
            np.array(one["precision"]),
        )
        for one in fitted
    )


def check(subject: CheckInput) -> Iterator[Finding]:
    """Yield a finding that rules out a decision if the record was probably read at half or twice its sampling rate."""
    measured = [lead for lead in BASIS_LEADS if lead in subject.leads and lead not in subject.unmeasured]
    if len(measured) < FEWEST:
        return
    leads = subject.filtered[[subject.leads.index(lead) for lead in measured]]
    numbers = describe(resample(leads, subject.fs, RATE))
    for wrong in wrong_rates():
        if wrong.is_likely(numbers):
            rate = subject.recorded_fs
            sentence = (
                f"its waves last {'twice' if wrong.factor > 1 else 'half'} as long as an ECG's; is it sampled at "
                f"{wrong.factor * rate:g} Hz instead of {rate:g} Hz? If so, correct the rate in the file."
            )
            yield Finding("wrong-rate", sentence, Severity.NO_DECISION, value=wrong.odds(numbers))


def describe(leads: Float32[np.ndarray, "lead time"]) -> Float64[np.ndarray, " number"]:
    """Return the logarithms of the mean square and of the mean size of the steps over each lag, each lead being scaled.

    The leads are sampled at RATE and filtered by `BAND`.
    """
    for _ in range(N_SMOOTHED):
        leads = leads[:, 1:] + leads[:, :-1]
        leads /= 2
    leads /= leads.std(axis=1, keepdims=True) + TINY
    squares, sizes = np.empty((2, len(LAGS)))
    for index, lag in enumerate(LAGS):
        step = leads[:, lag:] - leads[:, :-lag]
        squares[index] = np.vdot(step, step) / step.size
        sizes[index] = np.abs(step, out=step).sum() / step.size
    return np.log(np.concatenate([squares + TINY**2, sizes + TINY]))
