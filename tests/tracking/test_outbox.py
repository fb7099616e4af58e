import logging

import pytest

from ecgmtl.tracking import outbox
from ecgmtl.tracking.outbox import Outbox, reason_of


class Service:
    """Keeps what it gets, unless it is away."""

    def __init__(self):
        self.got, self.away, self.attempts = [], False, 0

    def put(self, item):
        self.attempts += 1
        if self.away:
            raise OSError("not there")
        if item == "bad":
            raise ValueError("bad item")
        self.got.append(item)


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def box():
    return Outbox("store", lambda error: isinstance(error, ValueError))


def test_calls_are_made_at_once_and_in_order(service, box):
    for item in range(3):
        box.send(lambda item=item: service.put(item))
        assert service.got[-1] == item
    assert box.close() == 0


def test_while_the_service_is_away_it_is_not_asked_again_and_again(service, box):
    service.away = True
    for item in range(100):
        box.send(lambda item=item: service.put(item))
    assert service.attempts == 1


def test_what_waited_arrives_in_order_and_nothing_is_lost(service, box, monkeypatch):
    monkeypatch.setattr(outbox, "SHORTEST_PAUSE", 0.0)
    for item in range(10):
        service.away = 3 <= item < 7
        box.send(lambda item=item: service.put(item))
    assert box.close() == 0
    assert service.got == list(range(10))


def test_a_hopeless_call_holds_up_no_other(service, box, caplog):
    for item in (1, "bad", 2):
        box.send(lambda item=item: service.put(item))
    assert service.got == [1, 2]
    assert box.close() == 1
    assert "bad item" in caplog.text


def test_losses_are_told_once_at_the_end(service, box, caplog):
    service.away = True
    for item in range(5):
        box.send(lambda item=item: service.put(item))
    assert box.close() == 5
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert caplog.messages == [
        "store: not there. Training goes on; what could not be logged is tried again.",
        "store: 5 entries were lost; all else was logged.",
    ]


def test_memory_is_bounded(service, box, monkeypatch):
    monkeypatch.setattr(outbox, "MOST_WAITING", 10)
    service.away = True
    for item in range(25):
        box.send(lambda item=item: service.put(item))
    service.away = False
    assert box.close() == 15
    assert service.got == list(range(10))


def test_interrupts_are_not_swallowed(box):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        box.send(interrupt)


def test_the_reason_is_what_the_system_said():
    long = RuntimeError("a long story\nof many lines")
    assert reason_of(long) == "a long story"
    long.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert reason_of(long) == "[Errno 111] Connection refused"
    assert reason_of(RuntimeError()) == "RuntimeError"
