"""Calls to a service that may be unavailable for a while, such as a tracking server. None of them stops the caller."""

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

log = logging.getLogger("ecgmtl")

MAX_WAITING = 2_000
"""Most calls that are kept while the service is unavailable. Later ones are lost, since they build on the first."""

SHORTEST_PAUSE = 10.0
"""Seconds between a failure and the next attempt."""

PAUSE_RATIO = 20.0
"""Least pause as a multiple of the time that the failure took. Failures thus cost at most 5 % of the time."""


Guard = Callable[[], AbstractContextManager[object]]
"""Function that returns the context of a call."""


class Outbox:
    """Queue that makes calls in order. After a failure it keeps them and tries again later.

    The first failure gives a warning, and none is raised. Calls whose error `is_hopeless` are dropped, because another
    attempt would not help. MLflow's own asynchronous logging (3.17, `AsyncLoggingQueue`) would not do: it notes the
    error of a batch that failed and never sends that batch again, so that a server's restart leaves gaps in the curves.
    """

    def __init__(self, service: str, is_hopeless: Callable[[Exception], bool], guard: Guard = nullcontext) -> None:
        self._service = service
        self._is_hopeless = is_hopeless
        self._guard = guard
        self._waiting: deque[Callable[[], object]] = deque()
        self._not_before = 0.0
        self._has_warned = False
        self._n_lost = 0

    def send(self, call: Callable[[], object]) -> None:
        """Make `call` now, or keep it while the service is unavailable."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(call)
        else:
            self._n_lost += 1
        if time.monotonic() >= self._not_before:
            self._deliver()

    def close(self) -> int:
        """Try once more, warn of calls that were lost, and return their number."""
        self._deliver()
        n_lost = self._n_lost + len(self._waiting)
        if n_lost:
            log.warning("%s: %d entries were lost. Everything else was logged.", self._service, n_lost)
        self._waiting.clear()
        self._n_lost, self._not_before, self._has_warned = 0, 0.0, False
        return n_lost

    def _deliver(self) -> None:
        while self._waiting:
            started = time.monotonic()
            try:
                with self._guard():  # which raises a signal that it held back at its end, when the call is done
                    self._waiting[0]()
                    self._waiting.popleft()
            except Exception as error:  # noqa: BLE001 - whatever a service throws, training goes on
                self._warn(error)
                if not self._is_hopeless(error):
                    seconds = time.monotonic() - started
                    self._not_before = time.monotonic() + max(SHORTEST_PAUSE, PAUSE_RATIO * seconds)
                    return
                self._n_lost += 1
                self._waiting.popleft()

    def _warn(self, error: Exception) -> None:
        if not self._has_warned:
            message = "%s: %s. Training continues, and logging will be retried later."
            log.warning(message, self._service, reason_of(error))
            self._has_warned = True


def reason_of(error: Exception) -> str:
    """Return the reason in one line: the error of the system or the database that caused `error`, or else `error`."""
    reason: BaseException = error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (OSError, sqlite3.Error)):
            reason = cause
        cause = cause.__cause__ or cause.__context__
    return str(reason).strip().partition("\n")[0] or type(reason).__name__
