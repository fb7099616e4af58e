"""Short gaps are filled and counted, long ones stay; a limb lead's gap is computed whatever its length."""

import numpy as np
import pytest

from data_prep import Preprocess, RecordError
from data_prep.lead_set import LeadSet, take_leads
from data_prep.leads import STANDARD_LEADS, name_leads
from data_prep.quality.gaps import fill_gaps, longest_run
from tests.wfdb_files import beats, make_record, sentences

FS = 250


def with_gap(lead, samples):
    signal = beats(10 * FS, FS)
    signal[samples, STANDARD_LEADS.index(lead) if lead else slice(None)] = np.nan
    return make_record(signal, FS)


@pytest.mark.parametrize(("lead", "samples"), [("V3", [700]), ("V3", range(700, 712)), (None, [-1]), (None, [0])])
def test_short_gaps_are_interpolated_and_counted(lead, samples):
    prepared = Preprocess()(with_gap(lead, samples))
    count = len(samples) * (1 if lead else 12)
    named, are = name_leads([lead] if lead else STANDARD_LEADS), "s were" if count > 1 else " was"
    assert sentences(prepared) == (f"{count} missing sample{are} interpolated ({named}).",)
    whole = Preprocess()(with_gap("V3", []))
    assert np.abs(prepared.signal - whole.signal).max() < 0.1


@pytest.mark.parametrize(
    ("lead", "samples"), [("V3", range(700, 713)), (None, range(500, 750)), ("V3", range(0, 2500, 8))]
)
def test_long_gaps_and_many_of_them_are_refused(lead, samples):
    with pytest.raises(RecordError, match=f"{len(samples)} of 2500 samples of lead (V3|I) are not numbers"):
        Preprocess()(with_gap(lead, samples))


@pytest.mark.parametrize("samples", [range(700, 710), range(250, 2000)])
def test_a_limb_lead_is_computed_in_a_gap_of_any_length_and_keeps_its_offset(samples):
    record = with_gap("aVR", samples)
    record.signal[:, 3] += np.float32(0.3)
    findings = []
    filled = fill_gaps(record.leads, record.signal.T, FS, findings)
    np.testing.assert_allclose(filled[3], beats(10 * FS, FS)[:, 3] + 0.3, atol=1e-5)
    (finding,) = findings
    assert finding.sentence == f"{len(samples)} missing samples were computed from the other limb leads (lead aVR)."
    assert (finding.label, finding.value) == ("gap-filled=aVR", len(samples))
    assert np.isnan(record.signal).sum() == len(samples)


def test_limb_leads_that_contradict_each_other_fill_no_gap():
    record = with_gap("aVR", range(250, 2000))
    record.signal[:, 0] *= -1
    with pytest.raises(RecordError, match="1750 of 2500 samples of lead aVR are not numbers"):
        Preprocess()(
            make_record(
                record.signal[:, [0, 1, 3, *range(6, 12)]], FS, [record.leads[i] for i in (0, 1, 3, *range(6, 12))]
            )
        )


def test_reconstruction_fills_the_gaps_of_the_leads_it_starts_from():
    taken = take_leads(with_gap("V2", [700]), LeadSet.parse("I,II,V2"), 100)
    assert sentences(taken) == ("1 missing sample was interpolated (lead V2).",)
    assert np.isfinite(taken.rows["V2"]).all()


def test_the_longest_run_reaches_both_ends():
    for text, longest in {"": 0, "0110": 2, "1101": 2, "0111": 3, "0000": 0}.items():
        assert longest_run(np.array([digit == "1" for digit in text], bool)) == longest
