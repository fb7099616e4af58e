"""Where one sample more, or one lead more, changes what becomes of a record."""

import numpy as np
import pytest

from data_prep import Preprocess, RecordError
from data_prep.leads import STANDARD_LEADS
from data_prep.quality.unit import odd_size
from tests.wfdb_files import beats, make_record, sentences


def test_a_record_one_sample_short_is_as_good_as_whole_and_one_two_short_is_filled_with_zeros():
    whole = Preprocess(baseline="keep")(make_record())
    one, two = (Preprocess(baseline="keep")(make_record(beats()[:n_samples])) for n_samples in (999, 998))
    assert sentences(one) == ()
    np.testing.assert_array_equal(one.signal[:, :999], whole.signal[:, :999])
    np.testing.assert_array_equal(one.signal[:, 999], one.signal[:, 998])
    assert np.abs(one.signal[:, 999]).max() > 0.01
    assert sentences(two) == ("lasts 9.98 s; padded with zeros to 10 s.",)
    np.testing.assert_array_equal(two.signal[:, :998], whole.signal[:, :998])
    assert not two.signal[:, 998:].any()


def test_a_record_one_sample_too_long_is_cut_and_it_is_said():
    long = Preprocess(baseline="keep")(make_record(beats(1001)))
    assert sentences(long) == ("lasts 10.01 s; only the first 10 s are used.",)
    assert long.signal.shape == (12, 1000)


@pytest.mark.parametrize("n_samples", [249, 250])
def test_two_and_a_half_seconds_are_long_enough_to_the_sample(n_samples):
    record = make_record(beats(n_samples))
    if n_samples == 250:
        assert Preprocess()(record).signal.shape == (12, 1000)
    else:
        with pytest.raises(RecordError, match=r"at least 2\.5 s"):
            Preprocess()(record)


def with_wild(n_wild):
    """Return a record of which the last leads swing by more than any ECG does, V6 first."""
    signal = beats()
    signal[500, -n_wild:] += 45
    return make_record(signal)


def test_half_of_the_leads_may_swing_and_more_may_not():
    prepared = Preprocess()(with_wild(6))
    assert any("an electrode was probably off" in warning for warning in sentences(prepared))
    with pytest.raises(RecordError, match=r"spans 4\d\.\d+ mV"):
        Preprocess()(with_wild(7))


@pytest.mark.parametrize(
    ("n_small", "n_leads", "refused"), [(5, 12, False), (6, 12, True), (5, 5, False), (6, 6, True), (1, 2, False)]
)
def test_half_of_six_leads_or_more_tell_of_a_wrong_unit(n_small, n_leads, refused):
    spans = np.where(np.arange(n_leads) < n_small, 0.2, 1.0).astype(np.float32)
    reason = odd_size(STANDARD_LEADS[:n_leads], spans, "mV")
    assert (reason is not None) == refused


@pytest.mark.parametrize(("span", "refused"), [(0.099, True), (0.101, False), (99.9, False), (100.1, True)])
def test_one_lead_alone_spans_what_an_electrode_can_make_it_span(span, refused):
    leads, spans = ("I", "II"), np.array([min(span, 1.0), span], np.float32)
    assert (odd_size(leads, spans, "mV") is not None) == refused
