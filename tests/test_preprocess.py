"""From record to array: leads by name, any rate, one length, millivolts that can be an ECG's."""

import json
import pickle
from dataclasses import asdict

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wfdb_files import beats, make_record

from data_prep import Preprocess, RecordError
from data_prep.leads import BASIS_LEADS, IDENTITIES, STANDARD_LEADS, standard_lead

RATES = (128, 240, 250, 257, 257.5, 360, 400, 480, 500, 512, 997, 1000, 2000)


def refusal(record, **fields):
    with pytest.raises(RecordError) as caught:
        Preprocess(**fields)(record)
    return str(caught.value)


def only(leads, signal=None):
    """A record of these leads alone."""
    signal = beats() if signal is None else signal
    return make_record(signal[:, [STANDARD_LEADS.index(lead) for lead in leads]], leads=leads)


# the whole


def test_a_record_that_fits_keeps_every_value():
    prepared = Preprocess(baseline="keep")(make_record())
    assert np.array_equal(prepared.signal, beats().T)
    assert prepared.signal.flags.c_contiguous
    assert prepared.warnings == ()


def test_the_mean_is_taken_from_every_lead_and_the_identities_survive():
    offset = np.zeros(12, np.float32)
    offset[:6] = (1, 3, 2, -2, -0.5, 2.5)
    signal = Preprocess()(make_record(beats() + offset)).signal
    assert np.allclose(signal.mean(axis=1), 0, atol=1e-6)
    assert np.allclose(np.stack(list(IDENTITIES.values())) @ signal[:6], 0, atol=1e-5)
    assert np.allclose(signal, Preprocess()(make_record()).signal, atol=1e-5)


def test_a_record_is_not_changed():
    record = make_record()
    Preprocess(band=(0.5, 40.0))(record)
    assert np.array_equal(record.signal, beats())


def test_a_record_s_own_warnings_are_passed_on():
    record = make_record()
    assert Preprocess()(type(record)(record.name, record.signal, 100, record.leads, ("odd.",))).warnings == ("odd.",)


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
        ({"seconds": 1.005, "fs": 100}, "no whole number of samples"),
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


# leads


@pytest.mark.parametrize(
    ("name", "lead"),
    [
        *[
            (spelt.format(lead), lead)
            for lead in STANDARD_LEADS
            for spelt in ("{}", "Lead {}", "MDC_ECG_LEAD_{}", "ECG {}")
        ],
        ("i", "I"),
        (" AVR ", "aVR"),
        ("ecg_lead_v6", "V6"),
        ("lead-ii", "II"),
        ("MLII", None),
        ("V", None),
        ("V7", None),
        ("-aVR", None),
        ("", None),
        ("vx", None),
    ],
)
def test_leads_are_known_by_the_names_that_files_give_them(name, lead):
    assert standard_lead(name) == lead


def test_any_order_and_spelling_of_the_leads_gives_the_same_array(rng):
    truth = Preprocess()(make_record()).signal
    for spelt in ("{}", "Lead {}", "MDC_ECG_LEAD_{}", "ecg {}") * 6:
        order = rng.permutation(12)
        leads = [spelt.format(STANDARD_LEADS[index]).swapcase() for index in order]
        assert np.array_equal(Preprocess()(make_record(beats()[:, order], leads=leads)).signal, truth)


def test_further_leads_are_left_out():
    signal = np.hstack([np.full((1000, 1), np.nan, np.float32), beats()])
    prepared = Preprocess()(make_record(signal, leads=("vx", *STANDARD_LEADS)))
    assert np.array_equal(prepared.signal, Preprocess()(make_record()).signal)


def test_the_four_dependent_leads_are_computed_exactly():
    prepared = Preprocess()(only(BASIS_LEADS))
    assert np.abs(prepared.signal - Preprocess()(make_record()).signal).max() < 1e-5
    assert prepared.warnings == ("no lead III, aVR, aVL, aVF in the file; computed from the other limb leads.",)


@pytest.mark.parametrize("missing", ["I", "II", "III", "aVR", "aVL", "aVF"])
def test_any_one_limb_lead_is_computed_from_the_others(missing):
    prepared = Preprocess()(only([lead for lead in STANDARD_LEADS if lead != missing]))
    assert np.abs(prepared.signal - Preprocess()(make_record()).signal).max() < 1e-5
    assert f"no lead {missing} in the file" in prepared.warnings[0]


def test_missing_leads_are_named():
    assert refusal(only(["I", "II", "III", "V1", "V2", "V3"])) == (
        "00001_lr: no lead V4, V5, V6; it has I, II, III, V1, V2, V3."
    )
    assert "no lead II, III, aVR" in refusal(only(["I", "V1"]))


def test_a_lead_that_occurs_twice_is_refused():
    record = make_record(np.hstack([beats(), beats()[:, :1]]), leads=(*STANDARD_LEADS, "Lead I"))
    assert refusal(record) == "00001_lr: lead I occurs more than once (I, Lead I); keep one of them."


def test_swapped_limb_leads_are_warned_of():
    warnings = Preprocess()(make_record(beats()[:, [1, 0, *range(2, 12)]])).warnings
    assert len(warnings) == 1
    assert warnings[0].startswith("III = II - I, aVL = I - II/2, aVF = II - I/2 violated")


# sampling rates


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("target", [100, 500])
def test_every_rate_gives_the_same_heart_beats(fs, target):
    prepared = Preprocess(fs=target)(make_record(beats(round(10 * fs), fs), fs))
    assert prepared.signal.shape == (12, 10 * target)
    assert prepared.warnings == ()
    truth = beats(10 * target, target)
    inner = slice(target, -target)
    assert np.abs(prepared.signal - (truth - truth.mean(axis=0)).T)[:, inner].max() < 0.03


@settings(max_examples=60, deadline=None)
@given(fs=st.floats(200, 2000), hertz=st.floats(1, 40))
def test_waves_of_1_to_40_hertz_keep_their_size_and_place(fs, hertz):
    wave = np.sin(2 * np.pi * hertz * np.arange(round(10 * fs)) / fs)
    basis = np.outer(wave, np.ones(12)) * [1, 1, 0, -1, 0.5, 0.5, 1, 1, 1, 1, 1, 1]
    found = Preprocess(baseline="keep")(make_record(basis, fs)).signal[0]
    truth = np.sin(2 * np.pi * hertz * np.arange(1000) / 100)
    assert np.abs(found - truth)[100:-100].max() < 0.02


@pytest.mark.parametrize("hertz", [60, 75, 150])
def test_what_the_target_rate_cannot_hold_is_filtered_out(hertz):
    wave = np.sin(2 * np.pi * hertz * np.arange(5000) / 500)[:, None]
    record = make_record(beats(5000, 500) + wave * [1, 1, 0, -1, 0.5, 0.5, 1, 1, 1, 1, 1, 1], 500)
    plain = Preprocess()(make_record(beats(5000, 500), 500)).signal
    assert np.abs(Preprocess()(record).signal - plain)[:, 100:-100].max() < 10 ** (-30 / 20)


@pytest.mark.parametrize("fs", [0.0, -100.0, float("nan"), float("inf"), 10.0, 1e6])
def test_rates_of_no_ecg_are_refused(fs):
    assert "is no ECG's" in refusal(make_record(beats(), fs))


# length


@pytest.mark.parametrize("n_samples", [0, 1, 100, 249])
def test_a_record_under_two_and_a_half_seconds_is_refused(n_samples):
    assert refusal(make_record(beats(n_samples))).startswith(
        f"00001_lr lasts {n_samples / 100:.3g} s ({n_samples} samples"
    )


def test_a_short_record_is_filled_with_zeros_and_a_long_one_cut():
    short = Preprocess()(make_record(beats(700)))
    assert short.warnings == ("lasts 7 s; filled up with zeros to 10 s.",)
    assert not short.signal[:, 700:].any()
    assert np.allclose(short.signal[:, :700].mean(axis=1), 0, atol=1e-6)
    long = Preprocess()(make_record(beats(3000)))
    assert long.warnings == ("lasts 30 s; only the first 10 s are used.",)
    assert np.array_equal(long.signal, Preprocess()(make_record()).signal)


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


# plausibility


def test_gaps_are_counted_and_their_lead_is_named():
    signal = beats(5000, 500)
    signal[100:137, 3] = np.nan
    assert refusal(make_record(signal, 500)) == "00001_lr: 37 of 5000 samples of lead aVR are not numbers."
    signal[0, 4] = np.inf
    assert "lead aVR are not numbers, nor are some of 1 other leads." in refusal(make_record(signal, 500))


def test_gaps_behind_the_part_that_is_used_do_no_harm():
    signal = beats(3000)
    signal[2000:] = np.nan
    assert np.isfinite(Preprocess()(make_record(signal)).signal).all()


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_microvolts_for_millivolts_are_noticed(scale):
    reason = refusal(make_record(beats() * np.float32(scale)))
    assert "the header's gain is probably for microvolts. Pass --unit uV if so." in reason
    assert "mV;" in reason


def test_volts_for_millivolts_are_noticed():
    assert "the values are probably volts. Pass --unit V if so." in refusal(make_record(beats() / 1000))


def test_one_wild_lead_alone_is_noticed():
    signal = beats()
    signal[:, 8] *= 1000
    assert "lead V3 spans" in refusal(make_record(signal))


def test_a_flat_lead_is_a_warning_and_twelve_are_refused():
    signal = beats()
    signal[:, 7] = 0.5
    assert Preprocess()(make_record(signal)).warnings == ("lead V2 flat.",)
    assert refusal(make_record(signal * 0 + 1)) == "00001_lr: every lead is flat; there is no ECG in it."


def test_an_electrode_that_came_off_is_a_warning_and_its_values_can_be_stored():
    signal = beats()
    signal[500:520, 8] = 60
    prepared = Preprocess()(make_record(signal))
    assert prepared.warnings[0].startswith("lead V3 spans 60")
    assert prepared.warnings[1] == "values up to 58.7 mV are cut off at 32.767 mV."
    assert prepared.signal.max() == np.float32(32.767)
