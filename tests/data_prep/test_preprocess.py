"""From record to array: leads by name, any rate, one length, millivolts that can be an ECG's."""

import json
import pickle
from dataclasses import asdict, replace

import numpy as np
import pydantic
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep import Preprocess
from data_prep.filters import band_pass, ratio_of
from data_prep.leads import STANDARD_LEADS, identity_errors
from data_prep.record import Remark
from data_prep.words import counted
from tests.refusals import unprepared
from tests.wfdb_files import beats, make_record, sentences

RATES = (128, 240, 250, 257, 257.5, 360, 400, 480, 500, 512, 997, 1000, 2000)


# the whole


def test_a_record_that_fits_keeps_every_value():
    prepared = Preprocess(baseline="keep")(make_record())
    assert np.array_equal(prepared.signal, beats().T)
    assert prepared.signal.flags.c_contiguous
    assert sentences(prepared) == ()


def test_the_mean_is_taken_from_every_lead_and_the_identities_survive():
    offset = np.zeros(12, np.float32)
    offset[:6] = (1, 3, 2, -2, -0.5, 2.5)
    signal = Preprocess()(make_record(beats() + offset)).signal
    assert np.allclose(signal.mean(axis=1), 0, atol=1e-6)
    errors = identity_errors(dict(zip(STANDARD_LEADS, signal, strict=True)))
    assert len(errors) == 4
    assert np.allclose(list(errors.values()), 0, atol=1e-5)
    assert np.allclose(signal, Preprocess()(make_record()).signal, atol=1e-5)


def test_a_record_is_not_changed():
    record = make_record()
    Preprocess(band=(0.5, 40.0))(record)
    assert np.array_equal(record.signal, beats())


def test_remarks_on_a_record_are_passed_on():
    record = replace(make_record(), remarks=(Remark("cut-off", "odd."),))
    (finding,) = Preprocess()(record).findings
    assert (finding.code, finding.sentence) == ("cut-off", "odd.")


# fields


def test_fields_survive_json_and_pickle():
    preprocess = Preprocess(fs=500, seconds=2.5, baseline="keep", band=(0.5, 40.0))
    assert Preprocess(**json.loads(json.dumps(asdict(preprocess)))) == preprocess
    assert pickle.loads(pickle.dumps(preprocess)) == preprocess
    assert preprocess.n_samples == 1250


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"fs": 0}, "fs: 0 must be"),
        ({"fs": True}, "fs: True must be"),
        ({"seconds": -1}, "seconds: -1 must be"),
        ({"seconds": float("nan")}, "seconds: nan must be"),
        ({"seconds": 1.005, "fs": 100}, "not a whole number of samples"),
        ({"band": (0.5, 50)}, "band: 0.5 to 50 Hz must rise, above 0 and below 50 Hz"),
        ({"band": (0, 40)}, "band: 0 to 40 Hz"),
        ({"band": (40, 0.5)}, "band: 40 to 0.5 Hz"),
        ({"band": (1,)}, "must be two numbers"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields, reason):
    with pytest.raises(ValueError, match="preprocess") as caught:
        Preprocess(**fields)
    assert reason in str(caught.value)


def test_a_config_that_nests_it_checks_it():
    adapter = pydantic.TypeAdapter(Preprocess)
    assert adapter.validate_python({"fs": 500, "band": [0.5, 40]}) == Preprocess(fs=500, band=(0.5, 40.0))
    for wrong in ({"fz": 500}, {"fs": 0}, {"fs": 99.5}, {"baseline": "median"}, {"band": [1]}):
        with pytest.raises(pydantic.ValidationError):
            adapter.validate_python(wrong)


# sampling rates


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("target", [100, 500])
def test_every_rate_gives_the_same_heart_beats(fs, target):
    prepared = Preprocess(fs=target)(make_record(beats(round(10 * fs), fs), fs))
    assert prepared.signal.shape == (12, 10 * target)
    assert sentences(prepared) == ((f"sampled at {fs:g} Hz, upsampled to {target} Hz.",) if fs < target else ())
    truth = beats(10 * target, target)
    inner = slice(target, -target)
    assert np.abs(prepared.signal - (truth - truth.mean(axis=0)).T)[:, inner].max() < 0.03


@settings(max_examples=60, deadline=None)
@given(fs=st.floats(200, 2000), hertz=st.floats(1, 40))
@example(fs=1700.125, hertz=14)
def test_waves_of_1_to_40_hertz_keep_their_size_and_place(fs, hertz):
    wave = np.sin(2 * np.pi * hertz * np.arange(round(10 * fs)) / fs)
    basis = np.outer(wave, np.ones(12)) * [1, 1, 0, -1, 0.5, 0.5, 2, 2, 2, 2, 2, 2]
    found = Preprocess(baseline="keep")(make_record(basis, fs)).signal[0]
    truth = np.sin(2 * np.pi * hertz * np.arange(1000) / 100)
    assert np.abs(found - truth)[100:-100].max() < 0.02


@settings(max_examples=200)
@given(old=st.floats(50, 50_000), new=st.integers(50, 10_000))
@example(old=1700.125, new=100)
@example(old=49_999.9, new=50)
@example(old=50.0001, new=10_000)
def test_a_ratio_of_rates_drifts_by_less_than_a_clock(old, new):
    ratio = ratio_of(new, old)
    assert abs(float(ratio) * old / new - 1) < 1.01e-6
    assert max(ratio.numerator, ratio.denominator) <= 1_000_000


@pytest.mark.parametrize("hertz", [60, 75, 150])
def test_what_the_target_rate_cannot_hold_is_filtered_out(hertz):
    wave = np.sin(2 * np.pi * hertz * np.arange(5000) / 500)[:, None]
    record = make_record(beats(5000, 500) + wave * [1, 1, 0, -1, 0.5, 0.5, 1, 1, 1, 1, 1, 1], 500)
    plain = Preprocess()(make_record(beats(5000, 500), 500)).signal
    assert np.abs(Preprocess()(record).signal - plain)[:, 100:-100].max() < 10 ** (-30 / 20)


@pytest.mark.parametrize("fs", [0.0, -100.0, float("nan"), float("inf"), 10.0, 1e6])
def test_rates_of_no_ecg_are_refused(fs):
    assert "is not that of an ECG" in unprepared(make_record(beats(), fs))


# length


@pytest.mark.parametrize("n_samples", [0, 1, 100, 249])
def test_a_record_under_two_and_a_half_seconds_is_refused(n_samples):
    assert unprepared(make_record(beats(n_samples))).startswith(
        f"00001_lr: lasts {n_samples / 100:.3g} s ({counted(n_samples, 'sample')} at"
    )


def test_a_short_record_is_filled_with_zeros_and_a_long_one_cut():
    short = Preprocess()(make_record(beats(700)))
    assert sentences(short) == ("lasts 7 s; padded with zeros to 10 s.",)
    assert not short.signal[:, 700:].any()
    assert np.allclose(short.signal[:, :700].mean(axis=1), 0, atol=1e-6)
    long = Preprocess()(make_record(beats(3000)))
    assert sentences(long) == ("lasts 30 s; only the first 10 s are used.",)
    assert np.array_equal(long.signal, Preprocess()(make_record()).signal)
    beginning = Preprocess()(replace(make_record(), total_seconds=14_400.0))
    assert sentences(beginning) == ("lasts 14400 s; only the first 10 s are used.",)
    assert np.array_equal(beginning.signal, long.signal)


@settings(max_examples=40, deadline=None)
@given(fs=st.floats(60, 1000), seconds=st.floats(2.6, 20), target=st.sampled_from([100, 240, 500]))
def test_the_result_has_one_shape_and_finite_values(fs, seconds, target):
    prepared = Preprocess(fs=target)(make_record(beats(round(seconds * fs) + 1, fs), fs))
    assert prepared.signal.shape == (12, 10 * target)
    assert np.isfinite(prepared.signal).all()


def test_shorter_windows_take_shorter_records():
    assert Preprocess(seconds=2)(make_record(beats(200))).signal.shape == (12, 200)


# baseline and band


def test_the_band_keeps_its_middle_and_drops_what_lies_outside():
    time = np.arange(1000) / 100
    signal = beats() + (np.sin(2 * np.pi * 0.1 * time)[:, None] * [1, 1, 0, -1, 0.5, 0.5, 1, 1, 1, 1, 1, 1])
    inner = slice(200, -200)
    drifting, plain = (Preprocess(band=(0.7, 40.0))(make_record(values)).signal for values in (signal, beats()))
    assert np.abs(drifting - plain)[:, inner].max() < 0.02
    assert np.ptp(plain[1]) > 0.8 * np.ptp(beats()[:, 1])


@pytest.mark.parametrize("phase", [0.0, 0.8, 1.6, 2.4])
def test_what_lies_in_the_band_hardly_rings_at_the_ends(phase):
    sine = np.sin(2 * np.pi * 10 * np.arange(1000) / 100 + phase)[None].astype(np.float32)
    error = np.abs(band_pass(sine, 100, 0.5, 40.0) - sine)
    assert error.max() < 0.12
    assert error[:, 100:-100].max() < 0.005
