import numpy as np
import pytest

from data_prep import ReadOptions, read_record
from data_prep.leads import STANDARD_LEADS, standard_lead
from data_prep.readers.options import WHOLE
from tests.dicom_files import channel, channels, group, write_dicom
from tests.refusals import refusal


@pytest.fixture
def samples(rng):
    return rng.integers(-400, 400, (5000, 12)).astype(np.int16)


@pytest.mark.parametrize(("unit", "sensitivity"), [("uV", 2.5), ("mV", 0.0025), ("V", 2.5e-6)])
def test_samples_become_millivolts(unit, sensitivity, samples, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", group(samples, channels(unit=unit, sensitivity=sensitivity)))
    record = read_record(path)
    np.testing.assert_allclose(record.signal, samples * 0.0025, rtol=1e-6)
    assert (record.fs, record.leads, record.unit) == (500.0, STANDARD_LEADS, unit)
    assert record.remarks == ()
    assert record.calibrated
    assert record.seconds == 10


def test_the_baseline_is_in_the_units_of_the_sensitivity(samples, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", group(samples, channels(baseline=-100)))
    np.testing.assert_allclose(read_record(path).signal, samples * 0.0025 - 0.1, atol=1e-6)


def test_padding_is_no_voltage(samples, tmp_path):
    samples[[7, 9], 3] = -32768
    path = write_dicom(tmp_path / "a.dcm", group(samples, channels(), padding=-32768))
    assert np.argwhere(np.isnan(read_record(path).signal)).tolist() == [[7, 3], [9, 3]]


def test_averaged_beats_are_not_taken_for_the_recording(samples, tmp_path):
    beat = group(np.tile(samples, (2, 1)), channels(), originality="DERIVED")
    path = write_dicom(tmp_path / "a.dcm", beat, group(samples, channels()))
    record = read_record(path)
    assert len(record.signal) == 5000
    assert record.remarks == ()


def test_of_several_recordings_the_one_with_most_leads_is_read_and_said(samples, tmp_path):
    rhythm = group(np.tile(samples[:, :1], (4, 1)), [channel("II")])
    record = read_record(write_dicom(tmp_path / "a.dcm", rhythm, group(samples, channels())))
    assert record.leads == STANDARD_LEADS
    assert [remark.sentence for remark in record.remarks] == [
        "2 recordings are in the file; the one with the most leads, then the longest, is read."
    ]


@pytest.mark.parametrize(("scheme", "meaning"), [("MDC", "lead"), ("SCPECG", "?"), ("LOCAL", "Lead {} (Einthoven)")])
def test_leads_are_known_by_their_code_or_their_name(scheme, meaning, samples, tmp_path):
    parts = [channel(lead, scheme=scheme, meaning=meaning.format(lead)) for lead in STANDARD_LEADS]
    record = read_record(write_dicom(tmp_path / "a.dcm", group(samples, parts)))
    assert tuple(map(standard_lead, record.leads)) == STANDARD_LEADS


def test_a_code_and_a_name_that_contradict_each_other_are_refused(samples, tmp_path):
    parts = [channel("I", meaning="Lead II"), *channels()[1:]]
    path = write_dicom(tmp_path / "a.dcm", group(samples, parts))
    assert refusal(path) == "a.dcm: channel 1 is coded as lead I and named II; correct the file."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": None}, "a.dcm states no unit for lead I; pass --unit."),
        ({"unit": "mm[Hg]"}, "a.dcm: lead I has a stated unit that is not one of"),
        ({"sensitivity": None}, "a.dcm states no sensitivity of channel 1, so its voltages are unknown."),
    ],
)
def test_a_voltage_is_never_guessed(options, message, samples, tmp_path):
    assert refusal(write_dicom(tmp_path / "a.dcm", group(samples, channels(**options)))).startswith(message)


def test_a_file_without_a_waveform_and_one_that_is_cut_are_refused(samples, tmp_path):
    assert refusal(write_dicom(tmp_path / "a.dcm")).startswith("a.dcm is a DICOM file without a waveform")
    path = write_dicom(tmp_path / "a.dcm", group(samples, channels()))
    path.write_bytes(path.read_bytes()[:-2000])
    message = refusal(path)
    assert message.startswith("a.dcm cannot be read: it is damaged, or not a valid DICOM file (")
    assert "position" not in message  # pydicom's own sentence, as every library's, may quote the file
    path.write_bytes(b"a" * 300)
    assert refusal(path) == "a.dcm is not a DICOM file: its first 132 bytes should end in DICM."


def test_zero_is_padding_only_where_all_channels_hold_it(tmp_path, samples):
    samples = samples.copy()
    samples[100, 3] = 0
    samples[200:300] = 0
    record = read_record(write_dicom(tmp_path / "a.dcm", group(samples, channels(), padding=0)))
    missing = np.isnan(record.signal)
    assert missing[200:300].all()
    assert missing.sum() == 100 * 12


def test_a_file_without_the_preamble_is_read(tmp_path, samples):
    path = write_dicom(tmp_path / "a.dcm", group(samples, channels()))
    expected = read_record(path).signal
    content = path.read_bytes()
    begin = content.index(b"\x10\x00\x10\x00PN")  # the patient's name, before which a character set is put
    bare = tmp_path / "bare"
    bare.write_bytes(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + content[begin:])
    np.testing.assert_array_equal(read_record(bare).signal, expected)


def test_of_a_long_recording_the_seconds_that_are_used_are_kept(tmp_path):
    signal = np.zeros((WHOLE + 500, 2), np.int16)
    path = write_dicom(tmp_path / "a.dcm", group(signal, [channel("I"), channel("II")]))
    record = read_record(path, ReadOptions(seconds=10))
    assert len(record.signal) == 5000
    assert record.seconds == (WHOLE + 500) / 500


@pytest.mark.real
def test_a_real_file_is_read_as_pydicom_reads_it(shared_data):
    import pydicom

    path = shared_data / "formats/dicom/anonymous_ecg.dcm"
    record = read_record(path)
    microvolts = pydicom.dcmread(path).waveform_array(0)
    np.testing.assert_allclose(record.signal, microvolts / 1000, rtol=1e-6)
    assert record.fs == 1000
    assert record.leads == STANDARD_LEADS
