"""Estimate of the time left for a run of several stages."""

import math
import time
from collections.abc import Callable, Sequence


class RemainingTime:
    """Estimate of the time to the end of a run, from the epochs that it has trained so far.

    An epoch of the current stage takes as long as this stage's epochs so far. One of a later stage takes as long as the
    mean over all epochs of the run.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.later_epochs, self.n_epochs = 0, 0
        self.first = self.done = 0.0
        self.past_epochs = self.past_seconds = 0.0
        self.started = now()

    def begin(self, epochs: Sequence[int], index: int, done: float) -> None:
        """Note that a stage begins, of which some epochs may be done already. `epochs` gives each stage's length."""
        now = self.now()
        if self.done > self.first:
            self.past_epochs += self.done - self.first
            self.past_seconds += now - self.started
        self.n_epochs, self.later_epochs = epochs[index], sum(epochs[index + 1 :])
        self.first, self.done, self.started = done, done, now

    def advance(self, done: float) -> None:
        """Note how many epochs of the stage are done."""
        self.done = done

    def seconds(self) -> float:
        """Return the estimate, which is nan before anything was trained."""
        trained, elapsed = self.done - self.first, self.now() - self.started
        if not self.past_epochs + trained:
            return math.nan
        mean = (self.past_seconds + elapsed * (trained > 0)) / (self.past_epochs + trained)
        own = elapsed / trained if trained else mean
        return (self.n_epochs - self.done) * own + self.later_epochs * mean


def spell_time(seconds: float) -> str:
    """Format a duration: `under a minute`, `12 min`, `1 h 20 min`."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "under a minute"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"
