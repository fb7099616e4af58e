"""Recordings longer than the model's input: the first, the best or all windows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit
from typer.testing import CliRunner

import ecgmtl
from data_prep.leads import STANDARD_LEADS
from data_prep.readers import open_recording
from data_prep.readers.wfdb.long_record import LongRecord
from data_prep.record import Record
from data_prep.synthetic.waveform import synthesize
from ecgmtl.cli import app
from ecgmtl.inference.options import PredictOptions
from ecgmtl.inference.predict import predict, predict_records
from ecgmtl.inference.predictor import load_predictor
from ecgmtl.inference.result import Failure, Prediction
from ecgmtl.inference.windows import Window, prepare_windows, window_starts
from tests.wfdb_files import write_wfdb


@pytest.fixture(scope="module")
def predictor():
    return load_predictor()


def recording(*labels, fs=100, seed=0):
    """One ECG of 10 s after the other."""
    rng = np.random.default_rng(seed)
    return np.concatenate([synthesize([label, "SR"], fs, 10.0, rng) for label in labels]).astype(np.float32) / 1000


def make_record(signal, fs=100.0):
    return Record("r", signal, fs, STANDARD_LEADS)


def predict_one(predictor, record, window):
    (result,) = predict_records(predictor, [record], PredictOptions(window=window))
    return result


def test_windows_are_adjacent_and_the_last_ends_with_the_record():
    assert window_starts(1000, 1000) == [0]
    assert window_starts(400, 1000) == [0]
    assert window_starts(2000, 1000) == [0, 1000]
    assert window_starts(2300, 1000) == [0, 1000, 1300]


def test_all_windows_give_the_mean_of_their_probabilities(predictor):
    signal = recording("NORM", "IMI", "NORM")
    whole = predict_one(predictor, make_record(signal), Window.ALL)
    parts = [predict_one(predictor, make_record(part), Window.FIRST) for part in np.split(signal, 3)]
    mean = np.mean([list(part.probabilities.values()) for part in parts], axis=0)
    assert list(whole.probabilities.values()) == pytest.approx(mean, abs=1e-5)
    calibrated = predictor.metadata.calibration.probabilities(logit(mean)[None])[0]
    assert list(whole.calibrated.values()) == pytest.approx(calibrated, abs=1e-4)
    assert whole.findings[0].sentence == "lasts 30 s; the mean of 3 of its 3 windows is given."
    assert whole.decisions == {
        name: p >= threshold
        for (name, p), threshold in zip(
            whole.calibrated.items(), predictor.metadata.calibration.thresholds, strict=True
        )
    }


def test_the_last_window_ends_with_the_record(predictor):
    preprocess = predictor.metadata.preprocess
    windows = prepare_windows(make_record(recording("NORM", "NORM", "NORM")[:2450]), preprocess)
    assert [start for start, _ in windows] == [0, 1000, 1450]


def test_the_best_window_is_the_cleanest(predictor):
    signal = recording("NORM", "NORM", "NORM")
    rng = np.random.default_rng(0)
    for third, size in enumerate((0.1, 0.0, 0.2)):
        signal[1000 * third : 1000 * (third + 1)] += rng.normal(0, size, (1000, 12)).astype(np.float32)
    best = predict_one(predictor, make_record(signal), Window.BEST)
    alone = predict_one(predictor, make_record(signal[1000:2000]), Window.FIRST)
    assert best.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
    assert best.findings[0].value == 10.0
    assert "the 10 s from 10 s on are used, the best of 3 windows" in best.warnings


def test_windows_that_cannot_be_used_are_left_out_and_counted(predictor):
    signal = recording("NORM", "NORM", "NORM")
    signal[:1000] = 0.0
    found = predict_one(predictor, make_record(signal), Window.ALL)
    assert isinstance(found, Prediction)
    assert "the mean of 2 of its 3 windows" in found.warnings
    assert found.decisions
    signal[1000:2000] = 0.0
    found = predict_one(predictor, make_record(signal), Window.ALL)
    assert found.decisions == {}
    assert found.undecided == "only 1 of 3 windows allow a decision; at least half are needed."


@pytest.mark.parametrize("window", list(Window))
def test_a_recording_without_any_usable_window_fails(predictor, window):
    found = predict_one(predictor, make_record(np.zeros((3000, 12), np.float32)), window)
    assert isinstance(found, Failure)
    assert "flat" in found.reason


@pytest.mark.parametrize("window", list(Window))
def test_a_record_of_the_length_of_the_input_is_the_same_in_every_way(predictor, window):
    record = make_record(recording("NORM"))
    first, other = (predict_one(predictor, record, way) for way in (Window.FIRST, window))
    assert replace(other, signals=None) == first


@pytest.mark.parametrize("window", list(Window))
def test_a_file_of_the_length_of_the_input_keeps_its_path(predictor, records, window):
    assert [result.path for result in predict(predictor, records / "r0.hea", PredictOptions(window=window))] == [
        records / "r0.hea"
    ]


def test_a_voltage_scale_that_the_whole_recording_lost_is_lost_in_every_window(predictor):
    signal = recording("NORM", "NORM", "IMI").astype(np.float64)
    scaled = (signal / np.abs(signal).max(axis=0)).astype(np.float32)  # the largest value lies in one window alone
    found = predict_one(predictor, make_record(scaled), Window.ALL)
    assert any(finding.code == "lost-voltage" and "in 3 of 3 windows" in finding.sentence for finding in found.findings)


def test_the_option_reaches_files_and_the_python_interface(tmp_path):
    np.savez(tmp_path / "a.npz", signal=recording("NORM", "IMI"), fs=100, leads=np.array(STANDARD_LEADS))
    tables = {way: ecgmtl.load().predict(tmp_path / "a.npz", window=way) for way in ("first", "best", "all")}
    assert tables["first"]["p_MI"][0] + 0.2 < tables["all"]["p_MI"][0]
    assert "long" in tables["first"]["findings"][0]
    output = CliRunner().invoke(app, ["predict", str(tmp_path / "a.npz"), "--window", "all"]).output
    assert "the mean of 2 of its 2 windows is given" in output


@pytest.fixture
def in_small_parts(monkeypatch):
    """Let records of more than 600 samples be read in parts of 600 samples."""
    for module in ("long_record.WHOLE", "long_record.A_PART"):
        monkeypatch.setattr(f"data_prep.readers.wfdb.{module}", 12 * 50)
    monkeypatch.setattr("ecgmtl.inference.windows.AT_ONCE", 2)


@pytest.mark.parametrize("window", [Window.ALL, Window.BEST])
@pytest.mark.parametrize("scale", ["kept", "lost"])
def test_a_record_that_is_read_in_parts_is_predicted_as_one_in_memory(predictor, window, scale, tmp_path, request):
    signal = recording("NORM", "IMI", "NORM", "AFIB")[:3870]
    header = write_wfdb(tmp_path, signal if scale == "kept" else signal / np.abs(signal).max(axis=0))
    (in_memory,) = predict(predictor, header, PredictOptions(window=window))
    request.getfixturevalue("in_small_parts")
    assert isinstance(open_recording(header), LongRecord)
    (in_parts,) = predict(predictor, header, PredictOptions(window=window))
    assert in_parts == in_memory
    assert ("lost-voltage" in str(in_parts.findings)) == (scale == "lost")


@pytest.mark.usefixtures("in_small_parts")
def test_damage_at_the_end_of_a_record_that_is_read_in_parts_is_noticed(predictor, tmp_path):
    header = write_wfdb(tmp_path, recording("NORM", "IMI", "NORM"))
    data = bytearray(header.with_suffix(".dat").read_bytes())
    data[-3] ^= 4
    header.with_suffix(".dat").write_bytes(data)
    (result,) = predict(predictor, header, PredictOptions(window=Window.ALL))
    assert isinstance(result, Failure)
    assert "the checksum of " in result.reason
