"""Calls that a signal to end the process does not cut off in the middle."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back a signal that would end the process until the block has ended. A second signal is not held back.

    A write to SQLite that Ctrl-C cuts off may keep the database locked for its own process, which then cannot log how
    its run ended. Threads other than the main one get no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in ENDING}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    arrived: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)
        restore()

    def restore() -> None:
        for number, handler in held.items():
            signal.signal(number, handler)

    for number in held:
        signal.signal(number, hold)
    try:
        yield
    finally:
        restore()
        for number in arrived:
            signal.raise_signal(number)
