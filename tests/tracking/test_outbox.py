import logging

import pytest

from ecgmtl.tracking import outbox
from ecgmtl.tracking.outbox import Outbox, reason_of


class Service:
    """A service that keeps what it receives, unless it is unavailable."""

    def __init__(self):
        self.items, self.is_away, self.attempts = [], False, 0

    def put(self, item):
        self.attempts += 1
        if self.is_away:
            raise OSError("not there")
        if item == "bad":
            raise ValueError("bad item")
        self.items.append(item)


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def box():
    return Outbox("store", lambda error: isinstance(error, ValueError))


def test_calls_are_made_at_once_and_in_order(service, box):
    for item in range(3):
        box.send(lambda item=item: service.put(item))
        assert service.items[-1] == item
    assert box.close() == 0


def test_an_unavailable_service_is_not_called_again_and_again(service, box):
    service.is_away = True
    for item in range(100):
        box.send(lambda item=item: service.put(item))
    assert service.attempts == 1


def test_waiting_calls_arrive_in_order_and_none_is_lost(service, box, monkeypatch):
    monkeypatch.setattr(outbox, "SHORTEST_PAUSE", 0.0)
    for item in range(10):
        service.is_away = 3 <= item < 7
        box.send(lambda item=item: service.put(item))
    assert box.close() == 0
    assert service.items == list(range(10))


def test_a_hopeless_call_does_not_block_others(service, box, caplog):
    for item in (1, "bad", 2):
        box.send(lambda item=item: service.put(item))
    assert service.items == [1, 2]
    assert box.close() == 1
    assert "bad item" in caplog.text


def test_lost_calls_give_one_warning_at_the_end(service, box, caplog):
    service.is_away = True
    for item in range(5):
        box.send(lambda item=item: service.put(item))
    assert box.close() == 5
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert caplog.messages == [
        "store: not there. Training continues, and logging will be retried later.",
        "store: 5 entries were lost. Everything else was logged.",
    ]


def test_the_number_of_waiting_calls_is_bounded(service, box, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_WAITING", 10)
    service.is_away = True
    for item in range(25):
        box.send(lambda item=item: service.put(item))
    service.is_away = False
    assert box.close() == 15
    assert service.items == list(range(10))


def test_an_interrupt_is_not_caught(box):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        box.send(interrupt)


def test_the_reason_is_the_error_of_the_system():
    long = RuntimeError("a long story\nof many lines")
    assert reason_of(long) == "a long story"
    long.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert reason_of(long) == "[Errno 111] Connection refused"
    assert reason_of(RuntimeError()) == "RuntimeError"
