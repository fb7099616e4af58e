"""ECGs from arrays: shape, unit and leads are stated, and nothing else is taken for an ECG."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ecgmtl
from data_prep.record import Record, RecordError
from ecgmtl.inference.arrays import require_ecg, require_ecgs
from tests.folders import LEADS, ecg


def test_an_array_and_a_data_frame_are_the_record_that_they_hold(rng):
    signal = ecg(rng)
    counts = np.rint(1000 * signal).astype(int)
    record = ecgmtl.from_array(counts, fs=100, unit="\u00b5V", leads=LEADS, name="mine")
    assert (record.name, record.fs, record.leads) == ("mine", 100.0, tuple(LEADS))
    assert record.signal == pytest.approx(signal, abs=1e-3)
    table = pd.DataFrame(signal, columns=LEADS).assign(time=range(1000))
    again = ecgmtl.from_array(table, fs=100, unit="mV")
    assert again.leads == ecgmtl.from_array(signal, fs=100, unit="mV", leads=",".join(LEADS)).leads == tuple(LEADS)
    assert again.signal == pytest.approx(signal, abs=1e-6)


def test_masked_values_are_missing_samples(rng):
    masked = np.ma.masked_array(ecg(rng), mask=np.tile(np.arange(12) == 7, (1000, 1)))
    record = ecgmtl.from_array(masked, fs=100, unit="mV", leads=LEADS)
    assert (np.isnan(record.signal) == masked.mask).all()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda x: x.T, {}, r"shape \(12, 1000\); .* each of the 12 leads; pass signal\.T"),
        (lambda x: x[:, :8], {}, r"shape \(1000, 8\); it should have .* of the 12 leads\.$"),
        (lambda x: x[None], {}, r"shape \(1, 1000, 12\)"),
        (lambda x: x.astype(complex), {}, "holds complex128; it should hold integers or"),
        (lambda x: x.astype(str), {}, "it should hold integers or"),
        (lambda x: x, {"leads": [f"channel {index}" for index in range(12)]}, "none of its 12 columns has the name"),
        (lambda x: x, {"leads": None}, "leads: an array names no columns"),
        (lambda x: x, {"unit": "m"}, "unit: 'm' is not one of nV, uV, mV"),
        (lambda x: x, {"fs": 0}, "fs: 0.0 is not a sampling rate"),
    ],
)
def test_an_array_that_is_no_ecg_is_refused(rng, change, options, message):
    stated = {"fs": 100, "unit": "mV", "leads": LEADS, **options}
    with pytest.raises((RecordError, ValueError), match=message):
        ecgmtl.from_array(change(ecg(rng)), **stated)


def test_only_paths_and_records_are_predicted(rng):
    record = Record("a", ecg(rng).astype(np.float32), 100.0, tuple(LEADS))
    assert require_ecgs("a.hea") == ["a.hea"]
    assert require_ecgs(iter([Path("a"), record])) == [Path("a"), record]
    for wrong in (None, 5, record.signal, pd.DataFrame(record.signal), {"signal": record.signal}, [record.signal]):
        with pytest.raises(TypeError, match=r"an ECG is a path or a record, not \w+; ecgmtl\.from_array\(signal, fs"):
            require_ecgs(wrong)
    with pytest.raises(TypeError, match="not list"):
        require_ecg([record])
