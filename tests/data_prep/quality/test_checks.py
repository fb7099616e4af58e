"""Each check of the signal fires on an ECG with its fault, and is silent on one without."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from data_prep import Preprocess, find_records, read_record
from data_prep.filters import resample
from data_prep.leads import STANDARD_LEADS
from data_prep.perturb import swap_arms
from data_prep.quality import CHECKS, RELATIONS, SIZES, USUAL_SIZES, Severity
from data_prep.record import Remark
from data_prep.synthetic.waveform import synthesize
from tests.wfdb_files import make_record

SECONDS = 10


def ecg(fs=500):
    return (synthesize(["NORM", "SR"], fs, SECONDS, np.random.default_rng(0)) / 1000).astype(np.float32)


def labels(signal, fs=500):
    return [finding.label for finding in Preprocess().examine(make_record(signal, fs)).findings]


def swapped(signal, time):
    return swap_arms(signal.T).T


def copied(signal, time):
    return signal[:, [*range(8), 7, 9, 10, 11]]


def saturated(signal, time):
    signal[:, 9] = np.clip(signal[:, 9], -9, 0.6 * signal[:, 9].max())
    return signal


def noisy(signal, time):
    signal[:, 9] += 0.1 * np.random.default_rng(1).standard_normal(len(time))
    return signal


def humming(signal, time):
    signal[:, 9] += 0.025 * np.sin(2 * np.pi * 50.1 * time)
    return signal


def wandering(signal, time):
    signal[:, 9] += 1.5 * np.sin(2 * np.pi * 0.15 * time)
    return signal


def paced(signal, time):
    for second in range(1, SECONDS):
        signal[second * 500 : second * 500 + 1, 1:12] += 1
    return signal


def white_noise(rng):
    return rng.normal(0, 0.3, (1000, 12))


def random_walk(rng):
    return np.cumsum(rng.normal(0, 0.05, (1000, 12)), axis=0)


def sine(rng):
    return np.outer(np.sin(2 * np.pi * rng.uniform(0.5, 20) * np.arange(1000) / 100), rng.normal(0, 1, 12))


def read_at_half_its_rate(signal, time):
    return resample(np.ascontiguousarray(signal.T), 500, 1000).T[: len(signal)]


def interrupted(signal, time):
    return np.where((time > 4) & (time < 4.6), 0, signal.T).T


def partly_flat(signal, time):
    signal[2000:3000, 9] = signal[2000, 9]
    return signal


def standing_still(signal, time):
    signal[2000:] /= 100
    return signal


def repeated(signal, time):
    return np.concatenate([signal[:4000], signal[:1000]])


def from_another_time(signal, time):
    signal[:, 6:9] = np.roll(signal[:, 6:9], 250, axis=0)
    return signal


def with_swapped_leg(signal, time):
    right, left, leg, *chest = (
        np.zeros(len(signal)),
        *signal.T[:2],
        *(signal[:, 6:] + signal[:, :2].sum(1)[:, None] / 3).T,
    )
    return connect(leg, left, right, *chest)


def inverted(signal, time):
    return signal * np.where(np.arange(12) == 10, -1, 1)


def connect(right, left, leg, *chest):
    """Return the 12 leads from the potentials of the electrodes."""
    limbs = [left - right, leg - right, leg - left]
    augmented = [1.5 * electrode - (right + left + leg) / 2 for electrode in (right, left, leg)]
    return np.stack([*limbs, *augmented, *(np.array(chest) - (right + left + leg) / 3)], axis=1).astype(np.float32)


def wrapped(signal, time, limit=1.0):
    signal[:, 9] = (signal[:, 9] + limit) % (2 * limit) - limit
    return signal


def joined(signal, time):
    other = synthesize(["IMI", "SR"], 500, SECONDS, np.random.default_rng(1)) / 1000
    return np.concatenate([signal[:2500], other[2500:]]).astype(np.float32)


FAULTS = {
    "joined": joined,
    "wrapped=V4": wrapped,
    "wrong-rate": read_at_half_its_rate,
    "arms-swapped": swapped,
    "lead-twice=V2,V3": copied,
    "flat-part": interrupted,
    "flat-part=V4": partly_flat,
    "no-beats": standing_still,
    "repeated": repeated,
    "leads-unrelated=V1,V2,V3": from_another_time,
    "electrodes-swapped": with_swapped_leg,
    "lead-inverted=V5": inverted,
    "saturated=V4": saturated,
    "noise=V4": noisy,
    "powerline=V4": humming,
    "baseline-wander=V4": wandering,
    "pacing-spikes": paced,
}


@pytest.mark.parametrize("label", FAULTS)
def test_a_fault_is_found_and_named(label):
    signal = FAULTS[label](ecg(), np.arange(SECONDS * 500) / 500)
    assert label in labels(signal)
    assert label.startswith("pacing") or len(labels(signal)) == 1


@pytest.mark.real
def test_real_records_read_at_half_or_twice_their_rate_are_found(shared_data):
    records = [read_record(path) for path in islice(find_records([shared_data / "ptbxl-sample/records100"]), 60)]
    told = {
        factor: sum("wrong-rate" in labels(record.signal, record.fs * factor) for record in records)
        for factor in (0.5, 1, 2)
    }
    assert len(records) == 60
    assert (told[0.5] >= 56, told[1] <= 1, told[2] >= 55) == (True, True, True), told


@pytest.mark.parametrize("make", [white_noise, random_walk, sine])
def test_a_signal_that_is_no_ecg_is_not_said_to_be_read_at_a_wrong_rate(make, rng):
    assert not any("wrong-rate" in labels(make(rng).astype(np.float32), 100) for _ in range(20))


@pytest.mark.parametrize("fs", [100, 250, 500, 1000])
def test_an_ecg_without_a_fault_has_no_finding(fs):
    assert labels(ecg(fs), fs) == []


UNDECIDED = (
    "arms-swapped",
    "electrodes-swapped",
    "flat-part",
    "joined",
    "lead-inverted=V5",
    "lead-twice=V2,V3",
    "leads-unrelated=V1,V2,V3",
    "no-beats",
    "repeated",
    "wrapped=V4",
    "wrong-rate",
)


@pytest.mark.parametrize("name", UNDECIDED)
def test_swapped_electrodes_and_copied_leads_forbid_a_decision(name):
    record = make_record(FAULTS[name](ecg(), np.arange(SECONDS * 500) / 500), 500)
    (finding,) = Preprocess()(record).findings
    assert finding.severity is Severity.NO_DECISION


@pytest.mark.parametrize(
    ("lead", "factor", "is_found"),
    [(11, 10, True), (7, 6, True), (7, 2, False), (1, 10, False), (8, 0.1, True), (11, 0.1, True), (8, 0.5, False)],
)
def test_a_chest_lead_of_a_wrong_gain_forbids_a_decision(lead, factor, is_found):
    signal = ecg()
    signal[:, lead] *= factor
    findings = Preprocess()(make_record(signal, 500)).findings
    severities = {finding.severity for finding in findings if finding.label == f"lead-size={STANDARD_LEADS[lead]}"}
    assert severities == ({Severity.NO_DECISION} if is_found else set())
    signal[:, 8] = 0  # V3 is estimated, so V2 lacks a neighbor
    assert ("lead-size=V6" in labels(signal)) == (lead == 11)
    assert "lead-size=V2" not in labels(signal)


@pytest.mark.parametrize(("width", "height"), [(1, 2.0), (2, 2.0), (500, 0.0)])
def test_spikes_are_not_values_that_wrapped_around(width, height):
    signal = ecg()
    for start in range(250, len(signal), 500):
        signal[start : start + width] += height
    assert not [label for label in labels(signal) if label.startswith("wrapped")]


def test_multiples_of_one_lead_are_one_finding():
    signal = ecg()
    signal[:, 6:] = np.outer(signal[:, 7], [0.5, 1, 1.5, 0.8, 0.7, 0.6])
    (label, *others) = [label for label in labels(signal) if label.startswith("lead-twice")]
    assert (label, others) == ("lead-twice=V1,V2,V3,V4,V5,V6", [])


@pytest.mark.real
def test_no_real_record_lacks_beats_or_has_a_lead_twice_or_wrapped_or_of_a_wrong_size(shared_data):
    records = [read_record(path) for path in islice(find_records([shared_data / "ptbxl-sample/records100"]), 60)]
    found = [label for record in records for label in labels(record.signal, record.fs)]
    assert not [label for label in found if label.startswith(("no-beats", "lead-size", "lead-twice", "wrapped"))]


@pytest.mark.parametrize("part", [np.s_[:1000], np.s_[2000:]])
def test_padding_in_a_file_is_noted(part):
    signal = ecg()
    signal[part] = 0
    (finding,) = Preprocess()(make_record(signal, 500)).findings
    assert (finding.code, finding.severity) == ("flat-part", Severity.NOTE)


@pytest.mark.parametrize(("stop", "leads"), [(1400, ()), (2500, ("V4",))])
def test_padding_does_not_hide_a_lead_that_is_flat_for_longer(stop, leads):
    signal = ecg()
    signal[:1000] = signal[:stop, 9] = 0
    findings = Preprocess()(make_record(signal, 500)).findings
    values = {(): 2, ("V4",): stop / 500 - 2}
    assert [(one.code, one.leads, one.value) for one in findings] == [
        ("flat-part", which, pytest.approx(values[which])) for which in dict.fromkeys([(), leads])
    ]


def test_swapped_arms_are_not_judged_where_leads_were_not_measured():
    signal = swapped(ecg(), None)
    signal[:, 7] = 0.0
    assert labels(signal) == ["flat-lead=V2"]


def test_every_check_takes_some_of_the_leads():
    record = make_record(ecg()[:, :7], 500, STANDARD_LEADS[:7])
    findings = Preprocess().examine(replace(record, remarks=(Remark("cut-off", "odd."),))).findings
    assert [finding.code for finding in findings] == ["cut-off", "lead-missing"]
    assert len((*SIZES, *USUAL_SIZES, *CHECKS, *RELATIONS)) > 10


@pytest.mark.real
def test_swapped_arms_of_real_records_are_found(shared_data):
    records = [read_record(path) for path in find_records([shared_data / "ptbxl-official-100hz"])]
    for record in records:
        changed = replace(record, signal=np.ascontiguousarray(swap_arms(record.signal.T).T))
        assert "arms-swapped" not in [finding.code for finding in Preprocess()(record).findings]
        assert "arms-swapped" in [finding.code for finding in Preprocess()(changed).findings]
