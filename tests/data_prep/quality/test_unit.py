"""What cannot be an ECG in millivolts is refused, and what is odd about one is said."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep import Preprocess, find_records, read_record
from data_prep.synthetic.waveform import synthesize
from data_prep.units import UNITS
from tests.refusals import unprepared
from tests.wfdb_files import beats, doubts, make_record, sentences


def test_gaps_are_counted_and_their_lead_is_named():
    signal = beats(5000, 500)
    signal[100:137, 8] = np.nan
    assert unprepared(make_record(signal, 500)) == "00001_lr: 37 of 5000 samples of lead V3 are not numbers."
    signal[0, 4] = np.inf
    assert "lead V3 are not numbers, nor are some of 1 other leads." in unprepared(make_record(signal, 500))


def test_gaps_after_the_used_part_are_ignored():
    signal = beats(3000)
    signal[2000:] = np.nan
    assert np.isfinite(Preprocess()(make_record(signal)).signal).all()


@pytest.mark.parametrize(
    ("stated", "true"), [("mV", "uV"), ("mV", "nV"), ("V", "mV"), ("V", "uV"), ("uV", "mV"), ("uV", "V"), ("mV", "V")]
)
def test_the_unit_that_is_named_makes_an_ecg_of_the_values(stated, true):
    record = replace(make_record(beats() * np.float32(UNITS[stated] / UNITS[true])), unit=stated)
    assert unprepared(record).endswith(f"the values are probably in {true}. Pass --unit {true} if so.")


@pytest.mark.parametrize("factor", [0.1, 0.01])
def test_an_ecg_ten_or_a_hundred_times_too_small_is_refused_without_a_unit_that_would_not_help(factor):
    for size in (1, 2):
        reason = unprepared(make_record(beats() * np.float32(size * factor)))
        assert reason.endswith("; the gain or the unit in the file is wrong.")
        assert "--unit" not in reason


def test_an_ecg_of_low_voltage_is_accepted():
    small = synthesize(["NORM", "SR"], 100, 10.0, np.random.default_rng(0)) / np.float32(1000)
    small *= np.float32(0.85) / np.ptp(small, axis=0).max()
    assert sentences(Preprocess()(make_record(small))) == ()


@pytest.mark.parametrize("unit", ["mV", "uV", None])
def test_one_wild_lead_alone_is_noticed_and_the_unit_that_the_others_have_is_not_proposed(unit):
    signal = beats()
    signal[:, 8] *= 1000
    reason = unprepared(replace(make_record(signal), unit=unit))
    assert "lead V3 spans" in reason
    assert reason.endswith("; the gain or the unit in the file is wrong.")


def test_twelve_flat_leads_are_refused():
    assert unprepared(make_record(beats() * 0 + 1)) == "00001_lr: every lead is flat; there is no ECG in it."


def test_an_electrode_that_came_off_is_warned_of_and_its_values_are_clipped():
    signal = beats()
    signal[500:520, 8] = 60
    prepared = Preprocess()(make_record(signal))
    assert sentences(prepared)[0].startswith("lead V3 spans 60")
    assert sentences(prepared)[-1].endswith("mV are cut off at 32.767 mV.")
    assert prepared.signal.max() == np.float32(32.767)


def test_an_odd_size_forbids_a_decision():
    off, large = beats(), 10 * synthetic()
    off[500:520, 8] = 60
    for signal, reason in ((off, "lead V3 spans 60"), (large, "half of the leads deviate by more than 0.8 mV")):
        prepared = Preprocess()(make_record(signal))
        assert [doubt.startswith(reason) for doubt in doubts(prepared)] == [True]
        assert set(doubts(prepared)) <= set(sentences(prepared))
    assert doubts(Preprocess()(make_record(synthetic()))) == []


def test_limb_leads_that_contradict_each_other_forbid_a_decision():
    signal = synthetic()
    for one, other in ((0, 1), (3, 4), (4, 5), (1, 10)):
        exchanged = signal.copy()
        exchanged[:, [one, other]] = signal[:, [other, one]]
        prepared = Preprocess()(make_record(exchanged))
        (doubt,) = doubts(prepared)
        assert doubt.endswith("mV rms; are leads swapped or wrongly named?")
        assert doubt in sentences(prepared)
    steps = np.float32(0.02) * np.rint(signal / np.float32(0.02))
    for accepted in (signal, steps, signal * np.float32(1.02 ** np.arange(12))):  # measurement errors
        assert doubts(Preprocess()(make_record(accepted))) == []


@pytest.mark.real
def test_limb_leads_of_real_records_do_not_contradict_each_other(shared_data):
    paths = list(find_records([shared_data / "ptbxl-official-100hz"]))
    assert paths
    for path in paths:
        assert not any("violated" in doubt for doubt in doubts(Preprocess()(read_record(path))))


def synthetic():
    return (synthesize(["NORM", "SR"], 100, 10.0, np.random.default_rng(0)) / 1000).astype(np.float32)
