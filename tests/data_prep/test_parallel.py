import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep import parallel


def whose(number):
    return number, os.getpid()


def broken(number):
    raise ValueError(f"piece {number}")


def test_a_worker_multiplies_matrices_in_one_thread_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert list(parallel.in_workers(os.getenv, [("OPENBLAS_NUM_THREADS",)], 1)) == ["1"]
    assert os.getenv("OPENBLAS_NUM_THREADS") is None
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert list(parallel.in_workers(os.getenv, [("OPENBLAS_NUM_THREADS",)], 1)) == ["3"]


def test_little_work_is_done_here():
    done = list(parallel.in_parallel(whose, [(1,), (2,), (3,)], workers=4))
    assert done == [(1, os.getpid()), (2, os.getpid()), (3, os.getpid())]


def test_much_work_goes_to_workers_after_the_first_piece(monkeypatch):
    monkeypatch.setattr(parallel, "SECONDS_WORTH_WORKERS", 0.0)
    done = dict(parallel.in_parallel(whose, [(number,) for number in range(20)], workers=2))
    assert sorted(done) == list(range(20))
    assert done[0] == os.getpid()
    assert os.getpid() not in [done[number] for number in range(1, 20)]


@pytest.mark.parametrize("function", [parallel.in_parallel, parallel.in_workers])
def test_an_error_arrives_where_the_results_are_awaited(function):
    with pytest.raises(ValueError, match="piece 1"):
        list(function(broken, [(1,)], workers=2))


SCRIPT = """
import os, sys, time
sys.path.insert(0, {tests!r})
from data_prep.parallel import in_workers
from tests.data_prep.test_parallel import whose
if __name__ == "__main__":
    for _, worker in in_workers(whose, [(number,) for number in range(9)], 1):
        print(worker, flush=True)
        time.sleep(60)
"""


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parents[2])))
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment) as parent:
        worker = int(parent.stdout.readline())
        assert is_running(worker)
        parent.kill()
    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


def is_running(process):
    """A zombie that nobody has waited for does not run."""
    status = Path(f"/proc/{process}/status")
    if not Path("/proc/self").exists():
        pytest.skip("no /proc to look into")
    return status.exists() and "\nState:\tZ" not in status.read_text()


def test_nothing_to_do_is_done_at_once():
    assert list(parallel.in_parallel(whose, [], workers=2)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_pieces_that_are_taken_a_few_ahead(monkeypatch, workers):
    monkeypatch.setattr(parallel, "SECONDS_WORTH_WORKERS", -1.0)
    taken = []
    pieces = ((taken.append(number) or number,) for number in range(100))
    for index, (number, process) in enumerate(parallel.in_order(whose, pieces, workers)):
        assert number == index
        assert (process == os.getpid()) is (workers == 1)
        assert len(taken) <= index + 1 + (workers > 1) * (parallel.PIECES_LOOKED_AT + 2 * workers)
    assert len(taken) == 100
