import os

import pytest

from data_prep import parallel


def whose(number):
    return number, os.getpid()


def broken(number):
    raise ValueError(f"piece {number}")


def test_little_work_is_done_here():
    done = list(parallel.in_parallel(whose, [(1,), (2,), (3,)], workers=4))
    assert done == [(1, os.getpid()), (2, os.getpid()), (3, os.getpid())]


def test_much_work_goes_to_workers_after_the_first_piece(monkeypatch):
    monkeypatch.setattr(parallel, "SECONDS_WORTH_WORKERS", 0.0)
    done = dict(parallel.in_parallel(whose, [(number,) for number in range(20)], workers=2))
    assert sorted(done) == list(range(20))
    assert done[0] == os.getpid()
    assert os.getpid() not in [done[number] for number in range(1, 20)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_arrives_where_the_results_are_awaited(monkeypatch, workers):
    monkeypatch.setattr(parallel, "SECONDS_WORTH_WORKERS", 0.0)
    with pytest.raises(ValueError, match="piece 1"):
        list(parallel.in_workers(broken, [(1,)], workers))


def test_nothing_to_do_is_done_at_once():
    assert list(parallel.in_parallel(whose, [], workers=2)) == []
