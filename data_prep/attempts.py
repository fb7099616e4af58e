"""Repeated requests to a server: which answers are final, and the pauses between attempts."""

import time
from collections.abc import Iterator

PAUSE = 0.5
"""Seconds before the second attempt. They double each time."""
WAIT_AND_REPEAT = (408, 425, 429)
"""Answers by which a server asks a client to come again: timeout, too early, too many requests."""


def attempts(n: int) -> Iterator[int]:
    """Yield the number of each attempt from 0, after its pause."""
    for number in range(n):
        if number:
            time.sleep(PAUSE * 2 ** (number - 1))
        yield number


def is_final(status: int) -> bool:
    """Return whether an HTTP status is an error of the request, which fails again however often it is repeated."""
    return 400 <= status < 500 and status not in WAIT_AND_REPEAT
