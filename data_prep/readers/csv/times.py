"""Check of a first column of times against the sampling rate."""

import math
import re

import numpy as np
from jaxtyping import Float64

from data_prep.record import RecordError

_TIMES = re.compile(
    r"(?P<name>times?|ts?|seconds|samples?|index|)(?:(?:^|[\s_]+|[\s_]*[(\[])(?P<unit>s|sec|ms|us)[)\]]?)?",
    re.IGNORECASE,
)
_A_SECOND = {"s": 1, "sec": 1, "seconds": 1, "ms": 1e3, "us": 1e6}


def is_time(column: str) -> bool:
    """Return whether a column of this name holds times or sample numbers."""
    return _TIMES.fullmatch(column) is not None


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
