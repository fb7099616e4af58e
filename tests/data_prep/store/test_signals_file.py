import os
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.store.signals_file import open_signals_file


def rows(rng, n_records):
    return rng.integers(-(2**15), 2**15, (n_records, 2, 5), dtype=np.int16)


def test_numpy_reads_the_rows_that_were_written(tmp_path, rng):
    expected = rows(rng, 7)
    signals = open_signals_file(tmp_path / "signals.npy", 7, (2, 5))
    assert signals.write(3, expected[3:]) == zlib.crc32(expected[3:].tobytes()) == signals.crc32(3, 4)
    signals.write(0, expected[:3])
    assert np.array_equal(np.load(tmp_path / "signals.npy"), expected)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), min_size=1, max_size=120))
def test_closing_keeps_the_rows_to_keep_and_nothing_else(tmp_path_factory, wanted):
    path = tmp_path_factory.mktemp("store") / "signals.npy"
    expected = rows(np.random.default_rng(0), len(wanted))
    signals = open_signals_file(path, len(wanted), (2, 5))
    signals.write(0, expected)
    signals.close([row for row, keep in enumerate(wanted) if keep], len(wanted))
    assert np.array_equal(np.load(path), expected[np.array(wanted)])


def test_opening_again_keeps_what_is_written(tmp_path, rng):
    expected = rows(rng, 4)
    open_signals_file(tmp_path / "signals.npy", 4, (2, 5)).write(0, expected)
    again = open_signals_file(tmp_path / "signals.npy", 4, (2, 5))
    assert again.crc32(0, 4) == zlib.crc32(expected.tobytes())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_a_file_of_full_size_is_not_allocated_while_others_may_write_it(tmp_path, rng, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "posix_fallocate", lambda *call: calls.append(call))
    for _ in range(2):
        open_signals_file(tmp_path / "signals.npy", 4, (2, 5))
    assert len(calls) == 1


def test_a_file_cut_by_closing_can_be_opened_in_full_size_again(tmp_path, rng):
    expected = rows(rng, 4)
    signals = open_signals_file(tmp_path / "signals.npy", 4, (2, 5))
    signals.write(0, expected)
    signals.close([0, 3], 4)
    again = open_signals_file(tmp_path / "signals.npy", 4, (2, 5))
    assert again.crc32(0, 1) == zlib.crc32(expected[:1].tobytes())
    assert np.load(tmp_path / "signals.npy").shape == (4, 2, 5)


def test_a_full_disk_leaves_no_file(tmp_path, file_size_limit):
    with file_size_limit(1000), pytest.raises(OSError, match="large"):
        open_signals_file(tmp_path / "signals.npy", 100, (12, 1000))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def file_size_limit():
    """A context in which no file may grow beyond so many bytes, as under a quota."""
    resource = pytest.importorskip("resource")
    from contextlib import contextmanager

    @contextmanager
    def limited(n_bytes):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited
