"""Windows of a recording that is longer than the model's input."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

import numpy as np

from data_prep.preprocess import Prepared, Preprocess, find_scale
from data_prep.quality import Finding, QualityError, Severity, noise
from data_prep.quality.length import FIT_CODES
from data_prep.record import Record


class Window(StrEnum):
    """Windows of a recording that are predicted."""

    FIRST = "first"
    """The first one alone."""
    BEST = "best"
    """The one with the fewest findings, and of these the one with the least noise."""
    ALL = "all"
    """Adjacent ones up to the end. The result is the mean of their probabilities."""


def is_longer(record: Record, preprocess: Preprocess) -> bool:
    """Return whether a record has more than one window."""
    return len(record.signal) > preprocess.n_needed(record.fs)


def cut(record: Record, start: int, preprocess: Preprocess) -> Record:
    """Return the window of a record from the sample `start` on."""
    return replace(record, signal=record.signal[start : start + preprocess.n_needed(record.fs)], total_seconds=None)


def prepare_windows(record: Record, preprocess: Preprocess) -> tuple[list[tuple[int, Prepared]], int]:
    """Return the first sample of each window that can be used, with the prepared window, and the number of all.

    Windows are adjacent. The last one is moved back so that it ends with the record.

    Raises:
        QualityError: none can be used. The error is that of the first.
    """
    size, n_samples = preprocess.n_needed(record.fs), len(record.signal)
    starts = sorted({*range(0, n_samples - size + 1, size), n_samples - size})
    scale, usable, first = find_scale(record), list[tuple[int, Prepared]](), None
    for start in starts:
        try:
            prepared = preprocess(record, start, scale)
        except QualityError as error:
            first = first or error
            continue
        findings = tuple(finding for finding in prepared.findings if finding.code not in FIT_CODES)
        usable.append((start, replace(prepared, findings=findings)))
    if first is not None and not usable:
        raise first
    return usable, len(starts)


def pick_best(record: Record, preprocess: Preprocess) -> tuple[int, Prepared]:
    """Return the best window and its first sample: the fewest findings, and of these windows the least noise.

    Raises:
        QualityError: none can be used.
    """
    usable, n_windows = prepare_windows(record, preprocess)
    start, prepared = min(usable, key=lambda window: badness(window[1], preprocess.fs))
    seconds = start / record.fs
    sentence = (
        f"lasts {record.seconds:.5g} s; the {preprocess.seconds:g} s from {seconds:.5g} s on are used, the best of "
        f"{n_windows} windows."
    )
    return start, replace(prepared, findings=(Finding("best-window", sentence, value=seconds), *prepared.findings))


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
