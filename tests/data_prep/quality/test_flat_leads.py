"""Dead leads are told and replaced; where too many are dead there is no prediction."""

import numpy as np
import pytest

from data_prep import Preprocess, RecordError
from data_prep.lead_set import LeadSet, take_leads
from data_prep.leads import LIMB_LEADS, STANDARD_LEADS, leads_are
from data_prep.quality.flat_leads import find_dead
from data_prep.synthetic.waveform import synthesize
from tests.wfdb_files import make_record, sentences

FS = 250
STATES = {"flat": 0.0, "noise": 0.001, "missing": np.nan}


@pytest.fixture(scope="module")
def ecg():
    return (synthesize(["NORM", "SR"], FS, 10.0, np.random.default_rng(0)) / 1000).astype(np.float32)


def without(ecg, leads, state):
    signal, columns = ecg.copy(), [STANDARD_LEADS.index(lead) for lead in leads]
    signal[:, columns] = STATES[state] * np.random.default_rng(1).standard_normal((len(signal), len(columns)))
    return make_record(signal, FS)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("lead", LIMB_LEADS)
def test_a_dead_limb_lead_is_computed_exactly_and_nobody_speaks_of_swapped_leads(ecg, lead, state):
    prepared = Preprocess()(without(ecg, [lead], state))
    assert sentences(prepared) == (f"lead {lead} is dead, and computed from the other limb leads.",)
    np.testing.assert_allclose(prepared.signal, Preprocess()(make_record(ecg, FS)).signal, atol=2e-3)  # whole uV


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("leads", [["V3"], ["V2", "V5"]])
def test_one_or_two_dead_chest_leads_are_estimated_better_than_by_0(ecg, leads, state):
    prepared = Preprocess()(without(ecg, leads, state))
    assert sentences(prepared) == (f"{leads_are(leads)} dead, and estimated from the other leads.",)
    whole = Preprocess()(make_record(ecg, FS)).signal
    rows = [STANDARD_LEADS.index(lead) for lead in leads]
    assert (prepared.signal - whole)[rows].std() < 0.6 * whole[rows].std()
    np.testing.assert_array_equal(np.delete(prepared.signal, rows, axis=0), np.delete(whole, rows, axis=0))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    "leads", [LIMB_LEADS, LIMB_LEADS[1:], STANDARD_LEADS[6:], STANDARD_LEADS[:1] + STANDARD_LEADS[2:]]
)
def test_too_many_dead_leads_are_refused_by_name(ecg, leads, state):
    with pytest.raises(RecordError, match=f"{leads_are(leads)} dead") as caught:
        Preprocess()(without(ecg, leads, state))
    assert "at least 2 limb leads and all but 2 of the chest leads must be alive" in str(caught.value)


def test_leads_that_were_recorded_one_after_another_are_refused(ecg):
    signal, size = np.zeros_like(ecg), len(ecg) // 4
    for group in range(4):
        part = np.s_[group * size : (group + 1) * size, 3 * group : 3 * group + 3]
        signal[part] = ecg[part]
    with pytest.raises(RecordError, match="recorded one after another, as on a printed page"):
        Preprocess()(make_record(signal, FS))


def lacking(ecg, leads, names=STANDARD_LEADS):
    kept = [index for index, lead in enumerate(STANDARD_LEADS) if lead not in leads]
    return make_record(ecg[:, kept], FS, [names[index] for index in kept])


@pytest.mark.parametrize("leads", [["V3"], ["V2", "V5"], ["aVL", "V6"]])
def test_one_or_two_chest_leads_that_a_file_lacks_are_estimated_as_flat_ones_are(ecg, leads):
    prepared = Preprocess()(lacking(ecg, leads))
    chest = [lead for lead in leads if lead not in LIMB_LEADS]
    said = f"{leads_are(chest)} not in the file, and estimated from the others; the result is less certain."
    assert said in sentences(prepared)
    flat = Preprocess()(without(ecg, chest, "flat"))
    np.testing.assert_allclose(prepared.signal, flat.signal, atol=1e-3)  # derived leads are rounded to whole uV


@pytest.mark.parametrize(
    ("leads", "names"),
    [
        (["V1", "V2", "V3"], STANDARD_LEADS),
        (["V3"], (*STANDARD_LEADS[:6], "foo", *STANDARD_LEADS[7:])),  # the column foo may be V3
        (["V3", *LIMB_LEADS[1:]], STANDARD_LEADS),
    ],
)
def test_a_file_that_lacks_more_or_may_name_a_lead_in_another_way_is_refused(ecg, leads, names):
    with pytest.raises(RecordError, match=r"leads? .*V3.* missing"):
        Preprocess()(lacking(ecg, leads, names))


def test_absent_and_dead_chest_leads_count_together(ecg):
    record = without(ecg, ["V1", "V2"], "flat")
    with pytest.raises(RecordError, match="all but 2 of the chest leads must be there and alive"):
        Preprocess()(lacking(record.signal, ["V3"]))


def test_no_lead_is_estimated_where_each_lost_its_voltage(ecg):
    scaled = (ecg - ecg.mean(axis=0)) / ecg.std(axis=0)
    with pytest.raises(RecordError, match="lead V3 is missing"):
        Preprocess()(lacking(scaled, ["V3"]))


def test_limb_leads_that_a_file_lacks_do_not_follow_from_a_dead_one(ecg):
    eight = [0, 1, *range(6, 12)]
    record = make_record(without(ecg, ["I"], "flat").signal[:, eight], FS, [STANDARD_LEADS[lead] for lead in eight])
    with pytest.raises(RecordError, match="lead I is dead"):
        Preprocess()(record)


def test_a_lead_that_is_flat_for_most_of_the_time_is_dead(ecg):
    for seconds, dead in ((4, ()), (6, ("V2",))):
        signal = ecg.T.copy()
        signal[7, -seconds * FS :] = signal[7, 5]
        assert find_dead(STANDARD_LEADS, signal, FS) == dead
        signal[:, -seconds * FS :] = 0.0  # where all are flat nothing was recorded
        assert find_dead(STANDARD_LEADS, signal, FS) == ()


def test_an_ecg_that_is_ten_times_too_small_has_no_dead_leads(ecg):
    assert find_dead(STANDARD_LEADS, 0.01 * ecg.T, FS) == ()
    lost = 100 * ecg.T
    lost[8] = 0.1 * np.random.default_rng(1).standard_normal(len(ecg))
    assert find_dead(STANDARD_LEADS, lost, FS, lost_voltage=True) == ("V3",)


def test_no_lead_is_reconstructed_from_a_dead_one(ecg):
    with pytest.raises(RecordError, match="lead V2 is dead; name only others in --from"):
        take_leads(without(ecg, ["V2"], "noise"), LeadSet.parse("I,II,V2"), 100)
