from itertools import combinations

import numpy as np
import pytest

from data_prep.lead_set import LeadSet, take_leads
from data_prep.leads import LIMB_LEADS, STANDARD_LEADS, derive_limb_leads, is_reconstructed, standard_lead
from data_prep.preprocess import Preprocess
from data_prep.record import RecordError
from tests.wfdb_files import beats, make_record, sentences


@pytest.mark.parametrize("known", list(combinations(LIMB_LEADS, 2)))
def test_any_two_limb_leads_give_the_other_four(known):
    whole = dict(zip(STANDARD_LEADS, beats().T, strict=True))
    rows = {lead: whole[lead] for lead in known}
    assert derive_limb_leads(rows) == tuple(lead for lead in LIMB_LEADS if lead not in known)
    for lead in LIMB_LEADS:
        np.testing.assert_allclose(rows[lead], whole[lead], atol=1e-5)


@pytest.mark.parametrize(
    ("text", "derived", "reconstructed"),
    [
        ("I,II,V2", "III aVR aVL aVF", "V1 V3 V4 V5 V6"),
        ("v2, AVF,Lead I", "II III aVR aVL", "V1 V3 V4 V5 V6"),  # as files spell them, in any order
        ("I,V2", "", "II III aVR aVL aVF V1 V3 V4 V5 V6"),  # II is the model's guess, and so are all made of it
        ("V1,V6", "", "I II III aVR aVL aVF V2 V3 V4 V5"),
    ],
)
def test_a_lead_is_given_or_follows_or_is_reconstructed(text, derived, reconstructed):
    leads = LeadSet.parse(text)
    assert " ".join(leads.derived) == derived
    assert " ".join(leads.reconstructed) == reconstructed
    assert sorted((*leads.given, *leads.derived, *leads.reconstructed)) == sorted(STANDARD_LEADS)


def test_limb_leads_that_contradict_each_other_are_warned_of():
    swapped = beats()
    swapped[:, 2] = swapped[:, 0]
    (warning,) = sentences(take_leads(make_record(swapped), LeadSet.parse("I,II,III,V2"), 100))
    assert warning.startswith("III = II - I violated, by up to")
    assert not sentences(take_leads(make_record(swapped), LeadSet.parse("I,II,aVF,V2"), 100))
    (warning,) = sentences(take_leads(make_record(swapped), LeadSet.parse("II,III,aVF,V2"), 100))
    assert warning.startswith("aVF = what II and III give violated, by up to")


def test_independent_leads_that_follow_are_not_hidden():
    # I II V1 V2 V3 V4 V5 V6; I follows from II and III
    assert LeadSet.parse("II,III,V2").mask == (False, False, True, False, True, True, True, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I,II,V7", "unknown lead V7; the leads are I, II, III, aVR"),
        (" ,", "no lead is named"),
        ("aVL,V2", "lead aVL alone determines neither I nor II"),
        ("II,III,V1,V2,V3,V4,V5,V6", "nothing is left to reconstruct"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        LeadSet.parse(text)


def test_a_record_may_lack_the_other_leads_and_those_it_has_are_not_looked_at():
    whole = beats()
    whole[:, 10] = np.nan  # V5, which is not asked for
    leads = LeadSet.parse("I,II,V2")
    alone = make_record(whole[:, [7, 1, 0]], leads=("V2", "II", "I"))
    for record in (make_record(whole), alone):
        rows = take_leads(record, leads, 100).rows
        assert set(rows) == {"I", "II", "V2", "III", "aVR", "aVL", "aVF"}
        np.testing.assert_array_equal(rows["V2"], whole[:, 7])


def test_leads_are_those_that_preprocessing_gives_but_for_their_offset():
    record = make_record(beats(5000, 500.0) + np.float32(0.4), 500.0)
    rows = take_leads(record, LeadSet.parse("I,II,V4"), 100).rows
    wanted = Preprocess(fs=100)(record).signal
    for lead in ("I", "V4"):
        np.testing.assert_allclose(rows[lead] - rows[lead].mean(), wanted[STANDARD_LEADS.index(lead)], atol=1e-6)
    assert rows["I"].mean() > 0.3


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            make_record(beats()[:, :7], leads=STANDARD_LEADS[:7]),
            "lead V2 is missing; the record has I, II, III, aVR, aVL, aVF, V1",
        ),
        (make_record(1000 * beats()), "probably in uV. Pass --unit uV if so"),
        (make_record(beats(200)), "lasts 2 s"),
        (make_record(np.where(np.arange(12) == 7, np.nan, beats())), "lead V2 is dead; name only others in --from"),
        (
            make_record(leads=(*STANDARD_LEADS[:7], "V2 reconstructed", *STANDARD_LEADS[8:])),
            "start from measured leads",
        ),
        (make_record(leads=(*STANDARD_LEADS[:6], "V2", *STANDARD_LEADS[7:])), "lead V2 occurs more than once"),
    ],
)
def test_a_record_that_does_not_serve_is_refused(record, said):
    with pytest.raises(RecordError, match=said):
        take_leads(record, LeadSet.parse("I,II,V2"), 100)


def test_a_marked_lead_is_read_with_a_warning():
    assert standard_lead("V1 reconstructed") == "V1"
    assert is_reconstructed("V1 reconstructed")
    assert not is_reconstructed("V1")
    names = [f"{lead} reconstructed" if lead in ("V1", "V3") else lead for lead in STANDARD_LEADS]
    assert sentences(Preprocess()(make_record(leads=names))) == (
        "leads V1 and V3 are reconstructed by a model, not measured; the result is less certain.",
    )
