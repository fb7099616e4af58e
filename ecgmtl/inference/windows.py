"""Windows of a recording that is longer than the model's input."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from data_prep.preprocess import Prepared, Preprocess, find_scale
from data_prep.quality import Finding, QualityError, Severity, noise
from data_prep.quality.length import FIT_CODES
from data_prep.record import Record, Recording

AT_ONCE = 64
"""Number of windows that are read at once."""


class RecordSignals(NamedTuple):
    """Signals of one record."""

    record: Record
    """Record as read, up to the length of the model's input."""
    prepared: Prepared
    """Signal as the model reads it."""


class Window(StrEnum):
    """Windows of a recording that are predicted."""

    FIRST = "first"
    """The first one alone."""
    BEST = "best"
    """The one with the fewest findings, and of these the one with the least noise."""
    ALL = "all"
    """Adjacent ones up to the end. The result is the mean of their probabilities."""


def is_longer(recording: Recording, preprocess: Preprocess) -> bool:
    """Return whether a recording has more than one window."""
    return recording.n_samples > preprocess.n_needed(recording.fs)


def window_starts(n_samples: int, size: int) -> list[int]:
    """Return the first sample of each window of `size` samples.

    Windows are adjacent. The last one is moved back so that it ends with the recording; a recording that is shorter
    than a window has one.
    """
    last = max(n_samples - size, 0)
    return sorted({*range(0, last + 1, size), last})


def count_windows(recording: Recording, preprocess: Preprocess) -> int:
    """Return the number of windows of a recording, whether or not they can be used."""
    return len(window_starts(recording.n_samples, preprocess.n_needed(recording.fs)))


def prepare_windows(recording: Recording, preprocess: Preprocess) -> Iterator[tuple[int, RecordSignals]]:
    """Yield the first sample of each window that can be used, with the window. Memory holds a few at a time.

    Raises:
        QualityError: none can be used. The error is that of the first.
    """
    size = preprocess.n_needed(recording.fs)
    starts = window_starts(recording.n_samples, size)
    scale, first, any_usable = find_scale(recording), None, False
    for some in (starts[i : i + AT_ONCE] for i in range(0, len(starts), AT_ONCE)):
        part = recording.part(some[0], some[-1] + size)
        for start in some:
            window = part.part(start - some[0], start - some[0] + size)
            try:
                prepared = preprocess(window, scale=scale)
            except QualityError as error:
                first = first or error
                continue
            any_usable = True
            findings = tuple(finding for finding in prepared.findings if finding.code not in FIT_CODES)
            yield start, RecordSignals(replace(window, total_seconds=None), replace(prepared, findings=findings))
    if first is not None and not any_usable:
        raise first


def pick_best(recording: Recording, preprocess: Preprocess) -> RecordSignals:
    """Return the best window: the fewest findings, and of these windows the least noise.

    Raises:
        QualityError: none can be used.
    """
    windows = prepare_windows(recording, preprocess)
    start, best = min(windows, key=lambda window: badness(window[1].prepared, preprocess.fs))
    seconds = start / recording.fs
    sentence = (
        f"lasts {recording.seconds:.5g} s; the {preprocess.seconds:g} s from {seconds:.5g} s on are used, the best of "
        f"{count_windows(recording, preprocess)} windows."
    )
    findings = (Finding("best-window", sentence, value=seconds), *best.prepared.findings)
    return best._replace(prepared=replace(best.prepared, findings=findings))


def badness(window: Prepared, fs: float) -> tuple[int, int, float]:
    """Return how bad a window is: reasons for no decision, findings, and the median noise of its leads in mV."""
    forbid = sum(finding.severity is Severity.NO_DECISION for finding in window.findings)
    return forbid, len(window.findings), float(np.median(noise.measure(window.signal, fs)))


def summarize_findings(windows: Sequence[Sequence[Finding]]) -> list[Finding]:
    """Return each kind of finding once, with the number of windows that have it."""
    counts = Counter(label for findings in windows for label in {finding.label for finding in findings})
    firsts = {finding.label: finding for findings in reversed(windows) for finding in findings}
    return [
        replace(
            firsts[label],
            severity=Severity.NOTE,
            sentence=f"in {count} of {len(windows)} windows: {firsts[label].sentence}",
        )
        for label, count in counts.most_common()
    ]
