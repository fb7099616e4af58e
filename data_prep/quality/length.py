"""Sampling rate and duration of a record: those of an ECG, and how they fit the input of a model."""

from collections.abc import Iterator

from data_prep.quality.finding import Finding, Severity
from data_prep.record import Record
from data_prep.units import RATES
from data_prep.words import counted

SHORTEST = 2.5
"""Shortest duration in seconds. A shorter record is refused. A longer one that does not fill the input is padded."""
FIT_CODES = frozenset({"long", "upsampled"})
"""Codes that depend on a model's input alone, and say nothing of the record."""


def check_length(record: Record, shortest: float = SHORTEST) -> Iterator[Finding]:
    """Yield a failure if no ECG has the record's sampling rate, or if it lasts less than `shortest` seconds."""
    if not RATES[0] <= record.fs <= RATES[1]:
        sentence = (
            f"a sampling rate of {record.fs:g} Hz is not that of an ECG; {RATES[0]:g} to {RATES[1]:g} Hz are read. "
            "Pass --fs if the file states a wrong one."
        )
        yield Finding("sampling-rate", sentence, Severity.FAILURE, value=record.fs)
        return
    n_samples = record.signal.shape[0]
    if (seconds := n_samples / record.fs) < shortest:
        sentence = (
            f"lasts {seconds:.3g} s ({counted(n_samples, 'sample')} at {record.fs:g} Hz); at least {shortest:g} s are "
            "needed."
        )
        yield Finding("too-short", sentence, Severity.FAILURE, value=seconds)


def check_fit(record: Record, needed: int, seconds: float, fs: int) -> Iterator[Finding]:
    """Yield how a record is fitted to an input of `needed` of its samples, which are `seconds`, at `fs` hertz."""
    n_samples = record.signal.shape[0]
    if n_samples > needed or record.total_seconds is not None:
        sentence = f"lasts {record.seconds:.5g} s; only the first {seconds:g} s are used."
        yield Finding("long", sentence, value=record.seconds)
    if n_samples < needed - 1:
        sentence = f"lasts {record.seconds:.5g} s; padded with zeros to {seconds:g} s."
        yield Finding("short", sentence, value=record.seconds)
    if record.fs < fs:  # nothing is in it above half its own rate
        yield Finding("upsampled", f"sampled at {record.fs:g} Hz, upsampled to {fs} Hz.", value=record.fs)
