"""Calls to a service that may be away for a while, such as a tracking server: none of them stops the caller."""

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger("ecgmtl")

MOST_WAITING = 2_000
"""Calls kept while the service is away; later ones are lost, for the first ones are what the others build on."""

SHORTEST_PAUSE = 10.0
"""Seconds without a new attempt after a failure."""

PAUSE_RATIO = 20.0
"""The pause also lasts this many times as long as the failure took, so that failing costs at most 5 % of the time."""


class Outbox:
    """Makes calls in order; after a failure it keeps them and tries again later.

    The first failure is told as a warning, none is raised. `is_hopeless` says of an error that another attempt
    would not help; such a call is dropped.
    """

    def __init__(self, service: str, is_hopeless: Callable[[Exception], bool]) -> None:
        self._service = service
        self._is_hopeless = is_hopeless
        self._waiting: deque[Callable[[], object]] = deque()
        self._not_before = 0.0
        self._told = False
        self._n_lost = 0

    def send(self, call: Callable[[], object]) -> None:
        """Make `call` now, or keep it while the service is away."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(call)
        else:
            self._n_lost += 1
        if time.monotonic() >= self._not_before:
            self._deliver()

    def close(self) -> int:
        """Try once more; the number of calls that were lost, which a warning tells too."""
        self._deliver()
        n_lost = self._n_lost + len(self._waiting)
        if n_lost:
            log.warning("%s: %d entries were lost; all else was logged.", self._service, n_lost)
        self._waiting.clear()
        self._n_lost, self._not_before, self._told = 0, 0.0, False
        return n_lost

    def _deliver(self) -> None:
        while self._waiting:
            began = time.monotonic()
            try:
                self._waiting[0]()
            except Exception as error:  # noqa: BLE001 - whatever a service throws, training goes on
                self._tell(error)
                if not self._is_hopeless(error):
                    took = time.monotonic() - began
                    self._not_before = time.monotonic() + max(SHORTEST_PAUSE, PAUSE_RATIO * took)
                    return
                self._n_lost += 1
            self._waiting.popleft()

    def _tell(self, error: Exception) -> None:
        if not self._told:
            told = "%s: %s. Training goes on; what could not be logged is tried again."
            log.warning(told, self._service, reason_of(error))
            self._told = True


def reason_of(error: Exception) -> str:
    """One line: what the system or the database said, where it is behind the error, or else the error itself."""
    reason: BaseException = error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (OSError, sqlite3.Error)):
            reason = cause
        cause = cause.__cause__ or cause.__context__
    return str(reason).strip().partition("\n")[0] or type(reason).__name__
