"""Leads are found by name, in any order, and the dependent ones computed."""

import numpy as np
import pytest

from data_prep import Preprocess
from data_prep.leads import BASIS_LEADS, STANDARD_LEADS, describe_leads, standard_lead
from tests.refusals import unprepared
from tests.wfdb_files import beats, make_record, sentences


def only(leads, signal=None):
    """A record of these leads alone."""
    signal = beats() if signal is None else signal
    return make_record(signal[:, [STANDARD_LEADS.index(lead) for lead in leads]], leads=leads)


@pytest.mark.parametrize(
    ("name", "lead"),
    [
        *[
            (spelled.format(lead), lead)
            for lead in STANDARD_LEADS
            for spelled in (
                "{}",
                "Lead {}",
                "MDC_ECG_LEAD_{}",
                "ECG {}",
                "{} [mV]",
                "{} (\u00b5V)",
                "{}_uV",
                "EKG {}",
                "ECG {}-Ref",
                "Lead ({})",
            )
        ],
        *[(f"C{place}", f"V{place}") for place in range(1, 7)],
        ("I-lead", "I"),
        ("ecg.aVL", "aVL"),
        ("b'II'", "II"),
        ("V\u2081", "V1"),
        ("DIII", "III"),
        ("D2", "II"),
        ("D4", None),
        ("C3-Ref", None),
        ("ECG V3-Ref", "V3"),
        ("MDC_ECG_ELEC_POTL_V1", "V1"),
        ("V6 reconstructed [mV]", "V6"),
        ("i", "I"),
        (" AVR ", "aVR"),
        ("ecg_lead_v6", "V6"),
        ("lead-ii", "II"),
        ("MLII", None),
        ("V", None),
        ("V7", None),
        ("-aVR", None),
        ("Lead -aVR", None),
        ("ECG -aVR [mV]", None),
        ("Lead (-aVR)", None),
        ("\u2212aVR", None),
        ("lead-aVR", "aVR"),
        ("I [mmHg]", None),
        ("IV", None),
        ("I_V", None),
        ("V_1", None),
        ("V1.1", None),
        ("C7", None),
        ("lead", None),
        ("", None),
        ("vx", None),
    ],
)
def test_leads_are_known_by_the_names_that_files_give_them(name, lead):
    assert standard_lead(name) == lead


def test_any_order_and_spelling_of_the_leads_gives_the_same_array(rng):
    truth = Preprocess()(make_record()).signal
    for spelled in ("{}", "Lead {}", "MDC_ECG_LEAD_{}", "ecg {}") * 6:
        order = rng.permutation(12)
        leads = [spelled.format(STANDARD_LEADS[index]).swapcase() for index in order]
        assert np.array_equal(Preprocess()(make_record(beats()[:, order], leads=leads)).signal, truth)


def test_further_leads_are_left_out():
    signal = np.hstack([np.full((1000, 1), np.nan, np.float32), beats()])
    prepared = Preprocess()(make_record(signal, leads=("vx", *STANDARD_LEADS)))
    assert np.array_equal(prepared.signal, Preprocess()(make_record()).signal)


def test_the_four_dependent_leads_are_computed_exactly():
    prepared = Preprocess()(only(BASIS_LEADS))
    assert np.abs(prepared.signal - Preprocess()(make_record()).signal).max() < 1e-5
    assert sentences(prepared) == (
        "leads III, aVR, aVL and aVF are not in the file, and computed from the other limb leads.",
    )


@pytest.mark.parametrize("missing", ["I", "II", "III", "aVR", "aVL", "aVF"])
def test_any_one_limb_lead_is_computed_from_the_others(missing):
    prepared = Preprocess()(only([lead for lead in STANDARD_LEADS if lead != missing]))
    assert np.abs(prepared.signal - Preprocess()(make_record()).signal).max() < 1e-5
    assert f"lead {missing} is not in the file" in sentences(prepared)[0]


def test_missing_leads_are_named():
    assert unprepared(only(["I", "II", "III", "V1", "V2", "V3"])) == (
        "00001_lr: leads V4, V5 and V6 are missing; the record has I, II, III, V1, V2, V3."
    )
    assert "leads II, III, aVR" in unprepared(only(["I", "V1"]))


def test_a_refusal_says_how_to_name_an_unknown_column():
    assert unprepared(make_record(leads=(*STANDARD_LEADS[:11], "chest"))) == (
        "00001_lr: lead V6 is missing; the record has I, II, III, aVR, aVL, aVF, V1, V2, V3, V4, V5 and 1 without a "
        "lead's name (first: column 12). If column 12 is among them, pass --leads NAME=LEAD,... with each column's "
        "name for NAME and its lead for LEAD."
    )
    two = make_record(leads=("a", "b", *STANDARD_LEADS[2:10], "c", "d"))
    assert "If columns 1, 2, 11, 12 are among them, pass --leads NAME=LEAD,..." in unprepared(two)


@pytest.mark.parametrize("leads", [("MLII", "V5"), ("II", "V", "PLETH"), (*STANDARD_LEADS[:6], "V1", "chest")])
def test_no_column_is_named_where_the_record_lacks_more_leads_than_it_has_unknown_columns(leads):
    assert unprepared(make_record(beats()[:, : len(leads)], leads=leads)).endswith(
        f"the record has {describe_leads(leads)}."
    )


def test_a_lead_that_occurs_twice_is_refused():
    record = make_record(np.hstack([beats(), beats()[:, :1]]), leads=(*STANDARD_LEADS, "Lead I"))
    assert unprepared(record) == "00001_lr: lead I occurs more than once (I, Lead I); keep one of them."


def test_swapped_limb_leads_are_warned_of():
    warnings = sentences(Preprocess()(make_record(beats()[:, [1, 0, *range(2, 12)]])))
    assert len(warnings) == 1
    assert warnings[0].startswith("III = II - I, aVL = I - II/2, aVF = II - I/2 violated")
