"""NumPy archives are read as they were saved, and say what they lack."""

import zipfile

import numpy as np
import pytest
from wfdb_files import beats

from data_prep import ReadOptions, RecordError, read_record
from data_prep.leads import STANDARD_LEADS


def refusal(path, *options):
    with pytest.raises(RecordError) as caught:
        read_record(path, *options)
    return str(caught.value)


def save(path, **arrays):
    content = {"signal": beats(), "fs": 100, "leads": STANDARD_LEADS, **arrays}
    np.savez(path, **{key: value for key, value in content.items() if value is not None})
    return path


def test_an_npz_archive_is_read_as_it_was_saved(tmp_path):
    record = read_record(save(tmp_path / "a.npz"))
    assert np.array_equal(record.signal, beats())
    assert (record.name, record.fs, record.leads) == ("a", 100, STANDARD_LEADS)
    microvolts = (beats() * 1000).astype(np.int16)
    assert np.allclose(read_record(save(tmp_path / "b.npz", signal=microvolts, unit="uV")).signal, beats(), atol=1e-3)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"signal": None}, "'signal' must be an array of numbers, (time, lead); found none"),
        ({"signal": beats().T}, "'signal' has 1000 columns for 12 leads. It seems to be turned: save signal.T."),
        ({"signal": beats()[:, 0]}, "found float32 of shape (1000,)"),
        ({"signal": np.array([[None]])}, "no readable .npz archive"),
        ({"signal": beats().astype(int)}, "whole numbers need a unit"),
        ({"fs": None}, "states no sampling rate"),
        ({"fs": -1}, "sampling rate of -1"),
        ({"fs": np.nan}, "sampling rate of nan"),
        ({"leads": None}, "names no leads"),
        ({"unit": "furlong"}, "'furlong' is not one of nV, uV, mV, V"),
    ],
)
def test_an_npz_archive_that_lacks_something_says_what(tmp_path, arrays, reason):
    assert reason in refusal(save(tmp_path / "a.npz", **arrays))


def test_options_fill_in_what_an_npz_archive_does_not_state(tmp_path):
    path = save(tmp_path / "a.npz", fs=None, leads=None)
    assert read_record(path, ReadOptions(fs=250, leads=STANDARD_LEADS)).fs == 250


def test_a_damaged_npz_archive_is_refused(tmp_path, rng):
    path = save(tmp_path / "a.npz")
    content = path.read_bytes()
    for size in rng.integers(len(content), size=20):
        path.write_bytes(content[:size])
        refusal(path)


def test_an_array_that_promises_too_much_is_refused_unread(tmp_path):
    path = tmp_path / "a.npz"
    head = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 12), }".ljust(122)
    for count, reason in ((10**8, "promised"), (10**6, "holds fewer")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("signal.npy", (head % count)[:127] + b"\n")
        assert reason in refusal(path)
