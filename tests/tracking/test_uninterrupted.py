import os
import signal
import threading

import pytest

from ecgmtl.tracking.outbox import Outbox
from ecgmtl.tracking.uninterrupted import uninterrupted


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def fail():
    raise OSError("locked")


def run(*actions):
    with uninterrupted():
        for action in actions:
            action()


def test_an_interrupt_waits_for_the_end_of_the_block():
    steps = []
    with pytest.raises(KeyboardInterrupt):
        run(interrupt, lambda: steps.append("goes on"))
    assert steps == ["goes on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_is_not_lost_where_the_block_fails():
    with pytest.raises(KeyboardInterrupt):
        run(interrupt, fail)


def test_a_second_interrupt_does_not_wait():
    steps = []
    with pytest.raises(KeyboardInterrupt):
        run(interrupt, lambda: steps.append("goes on"), interrupt, lambda: steps.append("does not"))
    assert steps == ["goes on"]


def test_without_a_signal_the_handlers_are_as_before():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_call_during_which_an_interrupt_came_is_made_once():
    calls, box = [], Outbox("service", lambda _error: True, uninterrupted)
    with pytest.raises(KeyboardInterrupt):
        box.send(lambda: (interrupt(), calls.append("first")))
    box.send(lambda: calls.append("second"))
    assert (box.close(), calls) == (0, ["first", "second"])


def test_other_threads_leave_signals_alone():
    before, during = signal.getsignal(signal.SIGINT), []
    thread = threading.Thread(target=run, args=[lambda: during.append(signal.getsignal(signal.SIGINT))])
    thread.start()
    thread.join()
    assert during == [before]
