"""What cannot be an ECG in millivolts is refused, and what is odd about one is said."""

import numpy as np
import pytest
from wfdb_files import beats, make_record

from data_prep import Preprocess, RecordError


def refusal(record, **fields):
    with pytest.raises(RecordError) as caught:
        Preprocess(**fields)(record)
    return str(caught.value)


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
