import numpy as np
import pytest

from data_prep.readers import read_record
from ecgmtl.evaluation.st_segment import find_peaks, find_st
from tests.wfdb_files import beats


@pytest.mark.parametrize("fs", [50.0, 100.0, 500.0])
def test_peaks_are_found_where_the_beats_are(fs):
    # one beat a second, its R wave at 0.4 s; the detector needs the first beat to learn from
    peaks = find_peaks(beats(round(10 * fs), fs).T, fs) / fs
    found = np.round(peaks % 1.0, 2)
    assert len(peaks) >= 8
    np.testing.assert_allclose(found, 0.4, atol=max(0.011, 1.1 / fs))


def test_the_segment_begins_120_ms_after_the_peak_and_lasts_20():
    signal = beats().T
    at = np.flatnonzero(find_st(signal, 100.0))
    wanted = (find_peaks(signal, 100.0)[:, None] + [12, 13, 14]).ravel()  # J + 60, 70, 80 ms; J is 60 ms after R
    np.testing.assert_array_equal(at, wanted[wanted < 1000])


def test_a_flat_record_has_no_segment():
    assert not find_st(np.zeros((12, 1000)), 100.0).any()


@pytest.mark.real
def test_beats_of_real_records_come_at_a_heart_s_rate(shared_data):
    paths = sorted((shared_data / "ptbxl-official-100hz").glob("*.hea"))
    assert len(paths) == 5
    for path in paths:
        intervals = np.diff(find_peaks(read_record(path).signal.T, 100.0)) / 100
        assert len(intervals) >= 5
        assert intervals.min() > 0.35
        assert intervals.max() < 2.0
