"""A first column of times: the sampling rate that it states, or the check against the one that is known."""

import math
import re

import numpy as np
from jaxtyping import Float64

from data_prep.record import RecordError

_TIMES = re.compile(
    r"(?P<name>times?|ts?|seconds|samples?|index|)(?:(?:^|[\s_]+|[\s_]*[(\[])(?P<unit>s|sec|ms|us)[)\]]?)?",
    re.IGNORECASE,
)
FEWEST_TIMES = 100
"""Fewest times that state a rate. Fewer may be even by chance, or too coarsely rounded."""
ROUNDED = 0.001
"""Relative difference up to which a rate is the integer next to it, since times are rounded."""
_A_SECOND = {"s": 1, "sec": 1, "seconds": 1, "ms": 1e3, "us": 1e6}


def is_time(column: str) -> bool:
    """Return whether a column of this name holds times or sample numbers."""
    return _TIMES.fullmatch(column) is not None


def stated_rate(column: str, times: Float64[np.ndarray, " time"]) -> float | None:
    """Return the sampling rate that evenly spaced times state if their column's name has a unit; otherwise None."""
    match = _TIMES.fullmatch(column)
    a_second = _A_SECOND.get((match["unit"] or match["name"]).lower()) if match else None
    if a_second is None or len(times) < FEWEST_TIMES:
        return None
    even = np.linspace(times[0], times[-1], len(times))
    step = even[1] - even[0]
    if not step > 0 or not np.abs(times - even).max() <= step:  # times may be rounded
        return None
    rate = float(a_second / step)
    return float(round(rate)) if abs(rate - round(rate)) <= ROUNDED * rate else rate


def check_times(name: str, column: str, times: Float64[np.ndarray, " time"], fs: float) -> None:
    """Raise RecordError unless the times in a column of this name increase as the sampling rate says."""
    match = _TIMES.fullmatch(column)
    if match is None or len(times) < 2:
        return
    step = (times[-1] - times[0]) / (len(times) - 1)
    allowed = _steps(match["name"].lower(), (match["unit"] or "").lower(), fs)
    if not any(math.isclose(step, one, rel_tol=0.01) for one in allowed):
        raise RecordError(f"{name}: its times step by {step:g}, which does not fit the sampling rate of {fs:g} Hz.")


def _steps(name: str, unit: str, fs: float) -> tuple[float, ...]:
    """Return the steps from sample to sample that a column of this name may have."""
    if a_second := _A_SECOND.get(unit or name):
        return (a_second / fs,)
    times = 1 / fs, 1e3 / fs, 1e6 / fs
    if name.startswith("t"):
        return times  # a step of 1 would be of ms at 1,000 Hz, or of samples
    return (1 / fs, 1.0) if name else (*times, 1.0)
