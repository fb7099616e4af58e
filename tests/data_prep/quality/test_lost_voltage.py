"""Records that lost their voltage scale are detected, warned of, and scaled to a typical level."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from data_prep import Preprocess, ReadOptions, RecordError, read_record
from data_prep.lead_set import LeadSet, take_leads
from data_prep.leads import STANDARD_LEADS
from data_prep.quality.lost_voltage import TYPICAL_MV, find_loss
from data_prep.store.open import open_store
from data_prep.store.prepare import prepare
from tests.folders import write_ptbxl, write_record
from tests.wfdb_files import beats, doubts, make_record, sentences, write_wfdb

BY_LEAD = {
    "deviation": lambda lead: (lead - lead.mean(axis=0)) / lead.std(axis=0),
    "span": lambda lead: (lead - lead.min(axis=0)) / np.ptp(lead, axis=0),
    "largest value": lambda lead: 5 * lead / np.abs(lead).max(axis=0),
}
WHOLE = {
    "deviation of all values is 1": lambda record: record / record.std(),
    "span exactly 0 to 1": lambda record: (record - record.min()) / np.ptp(record),
    "span exactly -1 to 1": lambda record: 2 * (record - record.min()) / np.ptp(record) - 1,
    "the largest value is exactly 1": lambda record: off_steps(record) / np.abs(off_steps(record)).max(),
}


def off_steps(record, size=1e-5):
    """Return the record with values between the steps of 10 µV in which `beats` is recorded."""
    return record + size * np.sin(np.arange(record.size, dtype=record.dtype)).reshape(record.shape)


def rms(signal, axis=None):
    return np.sqrt(np.square(signal, dtype=np.float64).mean(axis=axis))


@pytest.mark.parametrize("kind", BY_LEAD)
@pytest.mark.parametrize("band", [None, (0.5, 40)])
def test_leads_that_were_each_normalized_are_scaled_to_one_level_with_a_warning(kind, band):
    preprocess = Preprocess(band=band)
    found = preprocess(make_record(BY_LEAD[kind](beats())))
    np.testing.assert_allclose(rms(found.signal, axis=1), TYPICAL_MV, rtol=1e-5)
    (warning,) = sentences(found)  # no warning about lead identities, which such leads need not obey
    assert warning.startswith(f"each lead lost its voltage scale: all have the same {kind}; it is scaled to 0.24 mV")
    kept = preprocess(make_record()).signal
    np.testing.assert_allclose(found.signal / TYPICAL_MV, kept / rms(kept, axis=1)[:, None], atol=1e-4)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_record_that_was_normalized_as_a_whole_keeps_the_proportions_of_its_leads(kind):
    found = Preprocess()(make_record(WHOLE[kind](beats())))
    assert kind in sentences(found)[0]
    kept = Preprocess()(make_record()).signal
    np.testing.assert_allclose(found.signal, kept * TYPICAL_MV / rms(kept), atol=1e-4)


@pytest.mark.parametrize("factor", [0.01, 0.3, 7.0, 1e4])
def test_the_user_may_say_of_any_values_that_they_are_not_voltages(factor):
    found = Preprocess()(replace(make_record(beats() * np.float32(factor)), calibrated=False))
    assert rms(found.signal) == pytest.approx(TYPICAL_MV)
    assert "states that the values are not voltages" in sentences(found)[0]


def test_files_in_normalized_units_are_read_with_unit_none(tmp_path):
    path = write_wfdb(tmp_path, unit="/NU")
    with pytest.raises(
        RecordError, match="lead I has a unit that is not one of nV, uV, mV, V, or none where the voltage was lost"
    ):
        read_record(path)
    np.savez(tmp_path / "a.npz", signal=beats(), fs=100, leads=make_record().leads, unit="none")
    rows = "\n".join(",".join(map(str, row)) for row in beats())
    (tmp_path / "a.csv").write_text("# fs=100 unit=none\n" + ",".join(make_record().leads) + "\n" + rows)
    for record in (
        read_record(path, ReadOptions(unit="none")),
        read_record(tmp_path / "a.npz"),
        read_record(tmp_path / "a.csv"),
    ):
        assert not record.calibrated
        np.testing.assert_allclose(record.signal, beats(), atol=6e-4)


def test_a_marker_without_a_unit_does_not_make_the_leads_uncalibrated(tmp_path):
    path = write_wfdb(tmp_path, np.column_stack([beats(), beats()[:, 0]]), leads=(*make_record().leads, "marker"))
    lines = path.read_text().splitlines()
    lines[13] = lines[13].replace("/mV", "/none")
    path.write_text("\n".join([*lines, ""]))
    record = read_record(path)
    assert (record.calibrated, len(record.leads)) == (True, 12)
    assert "signal 13 is not in a unit of voltage and is left out." in [remark.sentence for remark in record.remarks]


def test_a_record_with_voltages_is_left_unchanged():
    for factor in (0.4, 1.0, 2.5):
        signal = beats() * np.float32(factor)
        assert find_loss(signal.T) is None
    few = BY_LEAD["deviation"](beats())[:, [0, 1, 7]] / 3  # three leads may be alike by chance
    assert find_loss(few.T) is None
    assert find_loss((few.T + 0.1) / (few.max() + 0.1)) is None  # nor is their largest value a sign


@pytest.mark.parametrize("step", [1, 2.5, 5, 10, 20])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_largest_value_of_one_millivolt_is_kept_where_values_lie_on_a_recorder_s_steps(step, sign):
    tall = sign * beats() / np.abs(beats()).max()
    recorded = np.rint(tall * 1000 / step) * step / 1000
    assert np.abs(recorded).max() == 1.0
    assert find_loss(recorded.astype(np.float32).T) is None
    assert find_loss((recorded + 0.137 * step / 1000 * (np.abs(recorded) < 1)).astype(np.float32).T).of == "record"


@pytest.mark.parametrize("digits", [4, 7])
def test_a_record_divided_by_its_largest_value_is_detected_by_values_between_a_recorder_s_steps(digits):
    ecg = off_steps(beats(), 1e-3)
    lost = np.round(ecg / np.abs(ecg).max(), digits)
    assert find_loss(lost.T).reason == "the voltage scale is lost: the largest value is exactly 1"


@pytest.mark.real
def test_a_lost_voltage_scale_is_detected_in_real_records_without_false_alarms(shared_data):
    headers = sorted((shared_data / "ptbxl-sample/records100").rglob("*.hea"))
    for header, lose in zip(headers, itertools.cycle((*BY_LEAD.values(), *WHOLE.values())), strict=False):
        signal = read_record(header).signal
        assert find_loss(signal.T) is None, header
        assert find_loss(lose(signal).T) is not None, header


def test_flat_leads_are_ignored_and_gaps_are_refused_elsewhere():
    signal = BY_LEAD["deviation"](beats())
    signal[:, 7] = 0.0
    found = Preprocess()(make_record(signal))
    assert len(sentences(found)) == 2
    assert not found.signal[7].any()
    assert find_loss(np.zeros((12, 100), np.float32)) is None
    signal[3, 2], signal[5, 4] = np.nan, np.inf
    with pytest.raises(RecordError, match="are not numbers"):
        Preprocess()(make_record(signal))


def test_no_limb_lead_is_computed_from_leads_that_lost_their_proportions():
    eight = [0, 1, *range(6, 12)]
    names = tuple(STANDARD_LEADS[lead] for lead in eight)
    whole = Preprocess()(make_record(WHOLE["deviation of all values is 1"](beats()[:, eight]), leads=names))
    assert "leads III, aVR, aVL and aVF are not in the file, and computed from the other limb leads." in sentences(
        whole
    )
    assert rms(whole.signal) == pytest.approx(TYPICAL_MV)
    with pytest.raises(RecordError, match="leads III, aVR, aVL and aVF are missing, and cannot be computed"):
        Preprocess()(make_record(BY_LEAD["deviation"](beats())[:, eight], leads=names))


@pytest.mark.parametrize("lose", [BY_LEAD["deviation"], WHOLE["deviation of all values is 1"]])
def test_missing_samples_beyond_the_part_that_is_read_do_not_conceal_a_loss(lose):
    late = np.concatenate([lose(beats()), np.full((100, 12), np.nan, np.float32)])
    assert rms(Preprocess()(make_record(late)).signal) == pytest.approx(TYPICAL_MV)
    unstated = replace(make_record(np.concatenate([beats(), late[-100:]])), calibrated=False)
    assert rms(Preprocess()(unstated).signal) == pytest.approx(TYPICAL_MV)


@pytest.mark.parametrize("change", [lambda ecg: ecg + 1e36, lambda ecg: ecg * np.float32(1e37)])
def test_values_too_large_to_compute_with_are_refused(change):
    with pytest.raises(RecordError, match=r"it reaches 1e\+3\d mV; is the file damaged, or its unit wrong"):
        Preprocess()(make_record(change(beats()).astype(np.float32)))


@pytest.mark.parametrize("band", [None, (0.5, 40)])
def test_an_unfiltered_store_filtered_on_reading_equals_a_filtered_store(tmp_path, band):
    source = write_ptbxl(tmp_path / "ptbxl", [{"NORM": 100.0}] * 5, np.random.default_rng(0))
    whole, lead = WHOLE["deviation of all values is 1"](beats()), BY_LEAD["deviation"](beats())
    short = beats(n_samples=600)
    for number, signal in enumerate([beats(), whole, lead, WHOLE["deviation of all values is 1"](short), short], 1):
        write_record(source / f"records100/00000/{number:05d}_lr", signal)
    for name, of in (("now", band), ("later", None)):
        prepare(source, tmp_path / name, Preprocess(band=of))
    now, later = (open_store(tmp_path / name).through(band) for name in ("now", "later"))
    assert list(later.records["lost_voltage"]) == ["", "record", "lead", "record", ""]
    rows = np.array([4, 2, 0, 1, 3])
    np.testing.assert_allclose(later.read(rows), now.read(rows), atol=2)


def test_leads_too_large_for_a_heart_are_warned_of():
    (warning,) = doubts(Preprocess()(make_record(beats() * np.float32(12))))
    assert "deviate by more than 0.8 mV, which no heart produces" in warning
    assert "Pass --unit none if the voltage was lost" in warning


def test_no_lead_is_reconstructed_from_leads_without_a_voltage_scale():
    with pytest.raises(
        RecordError,
        match="states that the values are not voltages; from such leads no others can be reconstructed in mV",
    ):
        take_leads(replace(make_record(), calibrated=False), LeadSet.parse("I,II,V2"), 100)
