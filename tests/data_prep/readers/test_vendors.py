"""Files of vendors become the voltages that an independent writer put into them, in every variant of their formats."""

import base64
import json
import re
import struct
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import Preprocess, ReadOptions, RecordError, read_record
from data_prep.leads import BASIS_LEADS, STANDARD_LEADS
from data_prep.readers import OtherFile, find_files
from data_prep.readers.other_files import OtherFileKind
from tests import vendor_files as vendor
from tests.refusals import refusal
from tests.wfdb_files import beats

FS = 500
OPTIONS = ReadOptions()


@pytest.fixture
def signal():
    return beats(1500, FS)


def write(path, content, encoding="utf-8"):
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def assert_reads(path, signal, step, leads=STANDARD_LEADS, fs=FS, options=OPTIONS):
    """The file holds the leads, in their order, within half a step of so many microvolts."""
    record = read_record(path, options)
    assert [lead.upper() for lead in record.leads] == [lead.upper() for lead in leads]
    assert record.fs == fs
    expected = signal[:, [STANDARD_LEADS.index(lead) for lead in leads]]
    np.testing.assert_allclose(record.signal, expected, atol=step / 1000 * 0.51)
    return record


# GE MUSE


@pytest.mark.parametrize("unit", ["MICROVOLTS", "MILLIVOLTS", "uV"])
@pytest.mark.parametrize("leads", [BASIS_LEADS, STANDARD_LEADS])
def test_a_rhythm_of_muse(tmp_path, signal, unit, leads):
    changes = {"LeadAmplitudeUnitsPerBit": 4.88, "LeadAmplitudeUnits": unit} if unit == "uV" else {"unit": unit}
    text = vendor.muse(
        vendor.muse_waveform(signal[:300], "Median"), vendor.muse_waveform(signal, leads=leads, **changes)
    )
    record = assert_reads(write(tmp_path / "a.xml", text), signal, 4.88, leads)
    assert record.remarks == ()


def test_of_several_rhythms_of_muse_the_one_with_the_most_leads_is_read(tmp_path, signal):
    waveforms = (
        vendor.muse_waveform(signal, leads=("II",)),
        vendor.muse_waveform(signal),
        vendor.muse_waveform(signal, "HighFreq", 1000),
    )
    record = assert_reads(write(tmp_path / "a.xml", vendor.muse(*waveforms)), signal, 4.88, BASIS_LEADS)
    assert [remark.sentence for remark in record.remarks] == [
        "3 rhythms are in the file; the one with the most leads is read."
    ]


@pytest.mark.parametrize(("base", "exponent", "fs"), [(250, 0, 250), (25, 1, 250), (5000, -1, 500)])
def test_the_sampling_rate_of_muse(tmp_path, signal, base, exponent, fs):
    text = vendor.muse(vendor.muse_waveform(signal, base=base, exponent=exponent))
    assert read_record(write(tmp_path / "a.xml", text)).fs == fs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"LeadSampleCountTotal": 1600}, "lead I promises 1600 samples; found 1500"),
        ({"LeadAmplitudeUnits": None}, "states no unit for lead I; pass --unit."),
        ({"LeadAmplitudeUnits": "COUNTS"}, "lead I has a stated unit that is not one of"),
        ({"LeadAmplitudeUnitsPerBit": None}, "does not state the voltage of one step of lead I"),
        ({"LeadAmplitudeUnitsPerBit": 0}, "the voltage of a step should be a number above 0; found 0"),
        ({"WaveFormData": "A?A"}, "are not Base64"),
    ],
)
def test_what_is_missing_or_contradictory_in_muse_is_refused(tmp_path, signal, changes, message):
    assert message in refusal(write(tmp_path / "a.xml", vendor.muse(vendor.muse_waveform(signal, **changes))))


def test_a_wrong_checksum_of_muse_is_told(tmp_path, signal):
    text = vendor.muse(vendor.muse_waveform(signal, LeadDataCRC32=7))
    assert "lead I: the checksum does not match" in read_record(write(tmp_path / "a.xml", text)).remarks[0].sentence


def test_a_median_beat_alone_is_no_ecg(tmp_path, signal):
    text = vendor.muse(vendor.muse_waveform(signal, "Median"))
    assert refusal(write(tmp_path / "a.xml", text)).endswith("holds no rhythm recording; a median beat is not read.")


# XML


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "latin-1", "cp1252", "utf-8-sig"])
@pytest.mark.parametrize("declared", ["utf-8", "utf-16", "iso-8859-1", "windows-1252", "nonsense"])
def test_xml_is_read_in_the_encoding_that_it_has(tmp_path, signal, encoding, declared):
    text = vendor.muse(vendor.muse_waveform(signal), encoding=declared, name="Müller\x02")
    assert_reads(write(tmp_path / "a.xml", text, encoding), signal, 4.88, BASIS_LEADS)


def test_xml_with_prefixes_and_other_cases_is_read(tmp_path, signal):
    text = vendor.muse(vendor.muse_waveform(signal)).replace('<!DOCTYPE RestingECG SYSTEM "restecg.dtd">', "")
    text = text.replace("</", "</ge:").replace("<", "<ge:").replace("<ge:/ge:", "</ge:").replace("<ge:?", "<?")
    text = text.replace("<ge:RestingECG>", '<ge:RESTINGECG xmlns:ge="urn:x">').replace(
        "/ge:RestingECG", "/ge:RESTINGECG"
    )
    assert_reads(write(tmp_path / "a.xml", text), signal, 4.88, BASIS_LEADS)


@pytest.mark.parametrize("name", ["muse.xml", "aecg.xml", "philips.xml", "cardiosoft.xml", "sapphire.xml"])
def test_xml_in_an_envelope_is_read(tmp_path, signal, name):
    text = vendor.FILES[name](signal).decode("latin-1")
    body = re.sub(r"^(<\?.*?\?>|<!DOCTYPE.*?>|\s)*", "", text)
    path = write(
        tmp_path / "a.xml", f"<?xml version='1.0'?>\n<!-- x --><env:Envelope xmlns:env='e'>{body}</env:Envelope>"
    )
    expected = read_record(write(tmp_path / "b.xml", text, "latin-1"))
    np.testing.assert_array_equal(read_record(path).signal, expected.signal)


@pytest.mark.parametrize(
    ("declaration", "use"),
    [
        ('<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">', "&b;"),
        ('<!ENTITY a SYSTEM "file:///etc/passwd">', "&a;"),
        ('<!ENTITY % a SYSTEM "http://localhost/x.dtd"> %a;', ""),
    ],
)
def test_entities_are_refused(tmp_path, signal, declaration, use):
    text = vendor.muse(vendor.muse_waveform(signal), name=use).replace('SYSTEM "restecg.dtd"', f"[{declaration}]")
    assert "declares entities" in refusal(write(tmp_path / "a.xml", text))


@pytest.mark.parametrize("filler", ["<a>" * 300, "<a/>" * 1000])
def test_xml_of_too_many_or_too_deep_elements_is_refused(tmp_path, monkeypatch, filler):
    monkeypatch.setattr("data_prep.readers.xml_tree.MAX_ELEMENTS", 1000)
    assert "more elements than any ECG" in refusal(write(tmp_path / "a.xml", f"<RestingECG>{filler}"))


def test_xml_that_is_cut_off_is_refused_without_a_word_of_it(tmp_path, signal):
    text = vendor.muse(vendor.muse_waveform(signal), name="Jane Doe")[:400]
    message = refusal(write(tmp_path / "a.xml", text))
    assert message == "a.xml is not well-formed XML; it is damaged or cut off."


def test_other_xml_says_which_formats_there_are(tmp_path):
    message = refusal(write(tmp_path / "a.xml", "<svg/>"))
    assert message.startswith("a.xml: its content is in no supported format; the formats are WFDB, DICOM, ")


# HL7 aECG


@pytest.mark.parametrize(("step", "unit", "atol"), [(2.5, "uV", 2.5), (0.005, "mV", 5)])
@pytest.mark.parametrize("increment", [("0.002", "s"), ("2", "ms"), ("2000", "us")])
def test_a_rhythm_of_aecg(tmp_path, signal, step, unit, atol, increment):
    series = vendor.aecg_series(signal, step=step, unit=unit, increment=increment)
    derived = vendor.aecg_series(signal[:300], "REPRESENTATIVE_BEAT")[8:-11]
    record = assert_reads(write(tmp_path / "a.xml", vendor.aecg(series, derived=derived)), signal, atol)
    assert record.remarks == ()


@pytest.mark.parametrize("increment", [("2", "s"), ("0.002", "ms")])
def test_a_rate_that_no_ecg_has_is_replaced_by_the_given_one(tmp_path, signal, increment):
    path = write(tmp_path / "a.xml", vendor.aecg(vendor.aecg_series(signal, increment=increment)))
    assert read_record(path).fs in (0.5, 500_000)
    record = assert_reads(path, signal, 2.5, options=ReadOptions(fs=FS))
    assert [remark.code for remark in record.remarks] == ["rate-replaced"]


def test_a_long_recording_is_read_as_far_as_the_given_rate_needs_where_it_replaces_the_stated_one():
    assert ReadOptions(fs=500, seconds=10).samples_to_read(2**19, 0.5) == 5000
    assert ReadOptions(fs=500, seconds=10).samples_to_read(2**19, 1000) == 10_000


@pytest.mark.parametrize("lower", [False, True])
def test_the_lowest_value_of_16_bits_is_missing_in_text_too(tmp_path, signal, lower):
    text = vendor.aecg(vendor.aecg_series(signal)).replace(
        "<digits>", "<digits>-32768 -40000 " if lower else "<digits>-32768 "
    )
    record = read_record(write(tmp_path / "a.xml", text))
    assert np.isnan(record.signal[0]).all() == (not lower)
    assert not np.isnan(record.signal[1:]).any()


def test_an_origin_of_aecg_is_added(tmp_path, signal):
    path = write(tmp_path / "a.xml", vendor.aecg(vendor.aecg_series(signal, zero=1000)))
    assert_reads(path, signal + 1, 2.5)


def test_of_several_series_of_aecg_the_one_with_the_most_leads_is_read(tmp_path, signal):
    beat = vendor.aecg_series(signal[:300], "REPRESENTATIVE_BEAT")
    one = vendor.aecg_series(signal, leads=("II",))
    record = assert_reads(write(tmp_path / "a.xml", vendor.aecg(beat, one, vendor.aecg_series(signal))), signal, 2.5)
    assert [remark.sentence for remark in record.remarks] == [
        "2 recordings are in the file; the one with the most leads, then the longest, is read."
    ]
    assert "averaged beats are not read" in refusal(write(tmp_path / "b.xml", vendor.aecg(beat)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('unit="s"', 'unit="min"', "the unit of its time is none of s, ms, us"),
        ('unit="s"', "", "the unit of its time is none of s, ms, us"),
        ("<increment", "<other", "states no sampling rate; pass --fs."),
        ('unit="uV"', 'unit="mmHg"', "lead I has a stated unit that is not one of"),
        ('unit="uV"', "", "states no unit for lead I; pass --unit."),
        ("<digits>", "<digits>x ", "the samples of a lead are not all numbers"),
        ("<digits>", "<digits>0 ", "its leads should have one length; found 1500, 1501 samples."),
    ],
)
def test_what_is_missing_or_contradictory_in_aecg_is_refused(tmp_path, signal, old, new, message):
    text = vendor.aecg(vendor.aecg_series(signal)).replace(old, new, 1 if "0 " in new else -1)
    assert message in refusal(write(tmp_path / "a.xml", text))


# Philips


@pytest.mark.parametrize("version", ["1.03", "1.04", "1.04.01"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("how", [{}, {"compressed": False}, {"compressed": False, "plain": True}])
def test_a_rhythm_of_philips(tmp_path, signal, version, encoding, how):
    text = vendor.philips(signal, version, encoding=encoding, labels=version != "1.03", **how)
    assert_reads(write(tmp_path / "a.xml", text, encoding), signal, 5)


@pytest.mark.parametrize("noise", [0, 0.005])
def test_a_pulse_of_calibration_at_the_end_is_no_part_of_an_ecg(tmp_path, signal, noise):
    pulse = np.repeat([0.0, 1.0, 0.0], [25, 100, 25])[:, None] + np.random.default_rng(0).uniform(
        -noise, noise, (150, 12)
    )
    series = vendor.aecg_series(np.concatenate((signal, pulse)), step=5)
    record = read_record(write(tmp_path / "a.xml", vendor.aecg(series)))
    np.testing.assert_allclose(record.signal, signal, atol=0.0026)


def test_an_end_without_voltage_is_kept(tmp_path, signal):
    series = vendor.aecg_series(np.concatenate((signal, np.zeros((150, 12)))), step=5)
    assert len(read_record(write(tmp_path / "a.xml", vendor.aecg(series))).signal) == 1650


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("resolution", "other", "states no resolution"),
        ("XLI", "ZIP", "is compressed by ZIP instead of XLI, which is not supported; export the ECG in another format"),
        ('"3000"', '"9000"', "promises 4500 samples of each lead; found 1500"),
        ("parsedwaveforms", "other", "holds no parsedwaveforms"),
    ],
)
def test_what_is_missing_or_contradictory_in_philips_is_refused(tmp_path, signal, old, new, message):
    text = vendor.philips(signal).replace(old, new)
    assert message in refusal(write(tmp_path / "a.xml", text, "utf-16"))


def test_what_unpacks_to_more_than_a_lead_is_refused(tmp_path):
    codes = [0, *range(256, 1023), *[1022] * 300_000]  # each code is a byte longer than the one before
    text = "".join(f"{code:010b}" for code in codes)
    packed = bytes(int(text[i : i + 8], 2) for i in range(0, len(text) // 8 * 8, 8))
    data = base64.b64encode(struct.pack("<ihh", len(packed), 1, 0) + packed).decode()
    text = vendor.philips(beats(10, FS), encoding="utf-8")
    begin, end = text.index("<parsedwaveforms"), text.index("</parsedwaveforms>")
    text = text[: text.index(">", begin) + 1] + data + text[end:]
    assert "unpacks to more than" in refusal(write(tmp_path / "a.xml", text))


# SCP-ECG


def scp_rows(signal, leads, step=2.5):
    return np.stack([vendor.stored(values, step) for values in vendor.columns(signal, leads).values()]).astype(np.int64)


@pytest.mark.parametrize("leads", [BASIS_LEADS, STANDARD_LEADS])
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("version", [10, 13, 20, 30])
@pytest.mark.parametrize("packed", [False, True])
def test_a_rhythm_of_scp(tmp_path, signal, leads, order, version, packed):
    rows = scp_rows(signal, leads)
    pack = {"pack": vendor.huffman(vendor.DEFAULT_CODES)} if packed else {}
    sections = {3: vendor.scp_leads(len(signal), leads), 6: vendor.scp_wave(rows, 2.5, FS, order, **pack)}
    if packed:
        sections[2] = (19999).to_bytes(2, "little")
    record = assert_reads(write(tmp_path / "a.bin", vendor.scp(sections, version)), signal, 2.5, leads)
    assert record.remarks == ()


def test_tables_of_scp_that_a_file_brings_itself(tmp_path, signal):
    leads, rows = BASIS_LEADS, scp_rows(signal, BASIS_LEADS)
    first = [("0", 0, 1, 0), ("10", 0, 1, 1), ("110", 0, 1, -1), ("1110", 0, 0, 2), ("1111", 16, 1, 0)]
    second = [("1", 0, 0, 1), ("0", 0, 1, 5)]
    codes = {0: "0", 1: "10", -1: "110", 5: "1110" + "0" + "1", None: "1111"}
    sections = {
        2: vendor.huffman_tables(first, second),
        3: vendor.scp_leads(len(signal), leads),
        6: vendor.scp_wave(rows, 2.5, FS, 2, vendor.huffman(codes)),
    }
    assert_reads(write(tmp_path / "a.scp", vendor.scp(sections)), signal, 2.5, leads)


def test_a_reference_beat_of_scp_is_added_where_it_was_subtracted(tmp_path, signal):
    leads, rows = BASIS_LEADS, scp_rows(signal, BASIS_LEADS)
    beat = rows[:, :250] // 2
    peaks, rest = [200, 700, 1200], rows.copy()
    for peak in peaks:
        rest[:, peak - 1 - 99 : peak - 1 + 100] -= beat[:, 25:224] * 2  # the beat's 125th sample is its peak
    zones = b"".join(struct.pack("<HIII", 0, peak - 99, peak, peak + 99) for peak in peaks)
    sections = {
        3: vendor.scp_leads(len(signal), leads, 0b1000101),
        4: struct.pack("<HHH", 500, 125, len(peaks)) + zones + struct.pack("<II", 1, 1) * len(peaks),
        5: vendor.scp_wave(beat, 5, FS),
        6: vendor.scp_wave(rest, 2.5, FS),
    }
    assert_reads(write(tmp_path / "a.scp", vendor.scp(sections)), signal, 2.5, leads)


def test_samples_of_scp_beyond_what_its_sizes_can_say_are_told_as_missing(tmp_path):
    signal = beats(33_000, FS)
    rows = scp_rows(signal, ("I", "II"))
    sections = {
        3: vendor.scp_leads(len(signal), ("I", "II")),
        6: vendor.scp_wave(rows[:, :32_767], 2.5, FS),
    }
    record = read_record(write(tmp_path / "a.scp", vendor.scp(sections)))
    assert len(record.signal) == 32_767
    assert [remark.sentence for remark in record.remarks] == [
        "the last 233 of 33000 samples of each lead are not in the file."
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({6: None}, "section 6 is missing"),
        ({3: None}, "section 3 is missing"),
        ({2: b"\0\0"}, "section 2 holds no Huffman table"),
        ({3: b"\x0c\x04"}, "section 3 promises 12 leads and is too short"),
        ({6: b"\0" * 400}, "section 6 states an interval or step of 0"),
    ],
)
def test_what_is_missing_or_contradictory_in_scp_is_refused(tmp_path, signal, changes, message):
    rows = scp_rows(signal, STANDARD_LEADS)
    sections = {3: vendor.scp_leads(len(signal), STANDARD_LEADS), 6: vendor.scp_wave(rows, 2.5, FS)} | changes
    sections = {number: content for number, content in sections.items() if content is not None}
    assert message in refusal(write(tmp_path / "a.scp", vendor.scp(sections)))


def test_a_damaged_section_of_scp_is_told(tmp_path, signal):
    rows = scp_rows(signal, STANDARD_LEADS)
    sections = {3: vendor.scp_leads(len(signal), STANDARD_LEADS), 6: vendor.scp_wave(rows, 2.5, FS)}
    content = bytearray(vendor.scp(sections))
    content[-100] ^= 1
    record = read_record(write(tmp_path / "a.scp", bytes(content)))
    assert [remark.sentence for remark in record.remarks] == [
        "the checksum of section 6 does not match; the file may be damaged."
    ]
    cut = read_record(write(tmp_path / "b.scp", bytes(content[:-1000])))
    assert cut.remarks[0].sentence == "section 6 is cut off; what is there of it is read."


# GE CardioSoft and Sapphire


@pytest.mark.parametrize(("step", "unit"), [(5, "uVperLsb"), (4.88, "µV/bit")])
@pytest.mark.parametrize("pack", [False, True])
def test_a_strip_of_cardiosoft(tmp_path, signal, step, unit, pack):
    text = vendor.cardiosoft(signal, step, unit, pack=pack)
    assert_reads(write(tmp_path / "a.xml", text, "latin-1"), signal, step)


def test_a_rhythm_of_sapphire(tmp_path, signal):
    assert_reads(write(tmp_path / "a.xml", vendor.sapphire(signal)), signal, 4.88, BASIS_LEADS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<StripData>", "<MedianSamples>", "holds no recorded strip; averaged beats are not read."),
        ("<Resolution", "<Other", "states no resolution"),
        ("uVperLsb", "counts", "states no unit for lead I; pass --unit."),
        ("<SampleRate", "<Other", "states no sampling rate; pass --fs."),
    ],
)
def test_what_is_missing_or_contradictory_in_cardiosoft_is_refused(tmp_path, signal, old, new, message):
    text = vendor.cardiosoft(signal).replace(old, new)
    for end in ("StripData", "Resolution", "SampleRate"):
        if old == f"<{end}" or old == f"<{end}>":
            text = text.replace(f"</{end}>", f"</{new.strip('<>')}>")
    assert message in refusal(write(tmp_path / "a.xml", text, "latin-1"))


# Schiller


@pytest.mark.parametrize(("step", "unit"), [(5, "uV"), (0.005, "mV")])
@pytest.mark.parametrize("kind", ["ECG_RHYTHMS", "ECG_RHYTHM"])
def test_a_rhythm_of_schiller(tmp_path, signal, step, unit, kind):
    assert_reads(write(tmp_path / "a.xml", vendor.schiller(signal, step, unit, kind=kind)), signal, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": "counts"}, "lead I has a stated unit that is not one of"),
        ({"exponent": 3}, "an exponent other than 1"),
        ({"kind": "ECG_AVERAGES"}, "holds no rhythm"),
    ],
)
def test_what_is_missing_or_contradictory_in_schiller_is_refused(tmp_path, signal, changes, message):
    assert message in refusal(write(tmp_path / "a.xml", vendor.schiller(signal, **changes)))


# Mortara


@pytest.mark.parametrize("duration", [1500, 3000, None])
def test_channels_of_mortara(tmp_path, signal, duration):
    text = vendor.mortara(signal, DURATION=duration)
    assert_reads(write(tmp_path / "a.xml", text), signal, 2.5)
    assert_reads(write(tmp_path / "b.xml", vendor.mortara(signal, OFFSET=400)), signal + 1, 2.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DURATION": 1499}, "lead I promises 1499 samples; found 1500"),
        ({"BITS": 12}, "does not store lead I as signed values of 16 bits in Base64"),
        ({"UNITS_PER_MV": None}, "states no number of units in a millivolt for lead I"),
        ({"SAMPLE_FREQ": 0}, "the sampling rate should be a number of hertz above 0"),
    ],
)
def test_what_is_missing_or_contradictory_in_mortara_is_refused(tmp_path, signal, changes, message):
    assert message in refusal(write(tmp_path / "a.xml", vendor.mortara(signal, **changes)))


# ISHNE


def test_a_recording_of_ishne(tmp_path, signal):
    signal = signal.copy()
    content = bytearray(vendor.ishne(signal))
    record = assert_reads(write(tmp_path / "a.holter", bytes(content)), signal, 2.5)
    assert record.remarks == ()
    content[-24:-22] = b"\x00\x80"  # a fault of the first lead
    assert np.isnan(read_record(write(tmp_path / "b.ecg", bytes(content))).signal[-1]).tolist() == [True] + [False] * 11
    content[300] ^= 1
    assert "checksum" in read_record(write(tmp_path / "c.ecg", bytes(content))).remarks[0].sentence
    assert "is cut off" in refusal(write(tmp_path / "d.ecg", bytes(content[:400])))


def test_of_a_long_recording_of_ishne_the_beginning_is_read(tmp_path):
    signal = np.tile(beats(1000, FS), (270, 1))
    record = read_record(write(tmp_path / "a.ecg", vendor.ishne(signal)), ReadOptions(seconds=10))
    assert record.signal.shape == (5000, 12)
    assert record.seconds == len(signal) / FS


# MFER


@pytest.mark.parametrize("how", [{}, {"little": False}, {"block": 50}, {"preamble": False}, {"interval": False}])
def test_a_recording_of_mfer(tmp_path, signal, how):
    assert_reads(write(tmp_path / "a.bin", vendor.mfer(signal, **how)), signal, 2.5)


def test_the_values_that_mfer_names_as_missing_are_missing(tmp_path, signal):
    record = read_record(write(tmp_path / "a.mwf", vendor.mfer(signal, missing=0)))
    zero = np.abs(signal) < 0.001
    assert (np.isnan(record.signal) == zero).all()
    assert zero.any()


def test_a_frame_of_mfer_that_is_cut_off_is_refused(tmp_path, signal):
    assert "not a valid MFER file" in refusal(write(tmp_path / "a.mwf", vendor.mfer(signal)[:-1000]))


# EDAN


def write_edan(folder, signal):
    header, samples = vendor.edan(signal)
    (folder / "ecgraw.dat").write_bytes(samples)
    return write(folder / "patient.hea", header)


def test_a_recording_of_edan_has_no_voltages_unless_a_unit_is_given(tmp_path, signal):
    path = write_edan(tmp_path, signal)
    record = read_record(path)
    assert not record.calibrated
    np.testing.assert_allclose(record.signal, np.round(signal * 1000), atol=1)
    assert_reads(path, signal, 1, options=ReadOptions(unit="uV"))
    (tmp_path / "ecgraw.dat").unlink()
    assert refusal(path) == "ecgraw.dat: the samples of patient.hea are not there; put them beside it."


# Contec


@pytest.mark.parametrize("connected", [range(8), (0, 1)])
def test_a_recording_of_contec_has_the_leads_that_were_connected(tmp_path, signal, connected):
    path = write(tmp_path / "a.ECG", vendor.contec(signal, connected))
    leads = [("II", "III", *STANDARD_LEADS[6:])[index] for index in connected]
    assert_reads(path, signal, 5, leads, fs=800)


def test_a_recording_of_contec_that_ends_within_a_sample_is_refused(tmp_path, signal):
    path = write(tmp_path / "a.ECG", vendor.contec(signal)[:-1])
    assert "should have 80 bytes and 16 for each sample; found 24079 bytes" in refusal(path)


# Kardia and Apple


@pytest.mark.parametrize("leads", [("I",), STANDARD_LEADS[:6]])
def test_leads_of_kardia(tmp_path, signal, leads):
    assert_reads(write(tmp_path / "a.json", vendor.kardia(signal, leads)), signal, 0.5, leads)


def test_what_is_missing_in_kardia_is_refused(tmp_path, signal):
    for changes, message in (
        ({"amplitudeResolution": None}, "states no amplitude resolution"),
        ({"samples": {}}, "holds no raw signal of one lead or six"),
        ({"samples": {"leadI": ["x"]}}, "not a list of numbers"),
        ({"frequency": "x"}, "states no sampling rate"),
    ):
        assert message in refusal(write(tmp_path / "a.json", vendor.kardia(signal, **changes)))


@pytest.mark.parametrize("leads", [("I",), STANDARD_LEADS[:6], STANDARD_LEADS])
def test_leads_of_atc(tmp_path, signal, leads):
    assert assert_reads(write(tmp_path / "a.atc", vendor.atc(signal, leads)), signal, 0.5, leads).remarks == ()


def test_damage_of_atc_is_told(tmp_path, signal):
    content = bytearray(vendor.atc(signal))
    assert "ends within a block" in refusal(write(tmp_path / "a.atc", bytes(content[:-1])))
    assert "holds no block that states" in refusal(write(tmp_path / "a.atc", bytes(content[:288])))
    content[400] ^= 1
    remarks = read_record(write(tmp_path / "a.atc", bytes(content))).remarks
    assert [remark.code for remark in remarks] == ["checksum"]


def test_a_text_that_begins_like_atc_is_no_ecg(tmp_path):
    path = write(tmp_path / "notes.txt", "ALIVE and well, ALIVECOR recordings are in the other folder.")
    assert list(find_files([tmp_path])) == [OtherFile(path, OtherFileKind.OTHER)]


# FHIR


@pytest.mark.parametrize(
    "how", [{}, {"n_parts": 3}, {"interval": {"interval": 2000, "intervalUnit": "us"}}, {"leads": BASIS_LEADS}]
)
def test_an_observation_of_fhir(tmp_path, signal, how):
    path = write(tmp_path / "a.json", vendor.fhir(signal, **how))
    assert_reads(path, signal, 1, how.get("leads", STANDARD_LEADS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": None}, "states no unit for lead I; pass --unit."),
        ({"unit": "mm[Hg]"}, "a stated unit that is not one of"),
        ({"period": None}, "states no sampling rate; pass --fs."),
        ({"interval": {"interval": 2, "intervalUnit": "min"}}, "the unit of its time is none of s, ms, us"),
        ({"dimensions": 2}, "several values at a time"),
        ({"data": "1 x"}, "not all numbers"),
        ({"data": None}, "holds no samples"),
        ({"factor": "0.005"}, "is not a number; correct the file"),
        ({"origin": {"value": "-100", "unit": "mV"}}, "is not a number; correct the file"),
        ({"period": "4"}, "is not a number; correct the file"),
        ({"offsets": "0 2 4"}, "at uneven times, or as codes"),
        ({"codeMap": "http://example.org/codes"}, "at uneven times, or as codes"),
    ],
)
def test_what_is_missing_or_damaged_in_fhir_is_refused(tmp_path, signal, changes, message):
    assert message in refusal(write(tmp_path / "a.json", vendor.fhir(signal, **changes)))


def test_values_of_fhir_beyond_its_limits_are_missing(tmp_path, signal):
    path = write(tmp_path / "a.json", vendor.fhir(signal, data="U L E 100"))
    np.testing.assert_array_equal(np.isnan(read_record(path).signal[:, 0]), [True, True, True, False])


# JSON


@pytest.mark.parametrize("fs", [500, "500 Hz"])
@pytest.mark.parametrize("leads", [BASIS_LEADS, STANDARD_LEADS])
def test_an_object_of_leads_in_json(tmp_path, signal, leads, fs):
    assert_reads(write(tmp_path / "a.json", vendor.json_leads(signal, leads, fs=fs)), signal, 0.001, leads)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"unit": None}, "states no unit for lead I; pass --unit."),
        ({"unit": "counts"}, "a stated unit that is not one of"),
        ({"fs": "fast"}, "a sampling rate that is not a number of hertz"),
    ],
)
def test_what_is_missing_or_unknown_in_json_is_refused(tmp_path, signal, facts, message):
    assert message in refusal(write(tmp_path / "a.json", vendor.json_leads(signal, **facts)))


def test_lists_of_numbers_under_other_names_are_no_ecg(tmp_path):
    path = write(tmp_path / "a.json", json.dumps({key: list(range(50)) for key in ("i", "j", "c1", "c2", "d1")}))
    assert list(find_files([tmp_path])) == [OtherFile(path, OtherFileKind.OTHER)]


@pytest.mark.parametrize("other", [{"frequency": 72}, {"units": "uV"}])
def test_facts_that_differ_beside_the_leads_of_json_are_refused(tmp_path, signal, other):
    tree = json.loads(vendor.json_leads(signal))
    path = write(tmp_path / "a.json", json.dumps(tree | {"signal": other | tree["signal"]}))
    assert "several sampling rates or units" in refusal(path)


def test_lists_numbered_like_the_electrodes_of_an_electroencephalogram_are_no_leads_in_json(tmp_path, signal):
    tree = json.loads(vendor.json_leads(signal))
    leads = tree["signal"]["leads"]
    leads |= dict.fromkeys(("C1", "C10"), leads["V1"])
    assert "has channels C1 to C10" in refusal(write(tmp_path / "a.json", json.dumps(tree)))


def test_the_same_facts_in_other_words_are_one_in_json(tmp_path, signal):
    tree = json.loads(vendor.json_leads(signal))
    facts = {"frequency": "0.5 kHz", "units": "millivolts"}
    assert_reads(write(tmp_path / "a.json", json.dumps(tree | {"signal": facts | tree["signal"]})), signal, 0.001)


@pytest.mark.parametrize("german", [False, True])
def test_the_lead_of_apple_health(tmp_path, signal, german):
    assert_reads(write(tmp_path / "a.csv", vendor.apple(signal, german)), signal, 0.01, ("I",))


def test_the_decimal_comma_of_a_rate_of_apple_health(tmp_path, signal):
    path = write(tmp_path / "a.csv", vendor.apple(signal, german=True, rate="511,844"))
    assert read_record(path).fs == 511.844


def test_a_recording_of_apple_health_without_a_unit_is_refused_with_what_would_do(tmp_path, signal):
    path = write(tmp_path / "a.csv", vendor.apple(signal).replace("Unit,µV\n", ""))
    assert refusal(path) == "a.csv states no unit for lead I; pass --unit."
    assert_reads(path, signal, 0.01, ("I",), options=ReadOptions(unit="uV"))


def test_a_single_lead_is_refused_by_name_where_twelve_are_needed(tmp_path, signal):
    record = read_record(write(tmp_path / "a.csv", vendor.apple(beats(5000, FS))))
    with pytest.raises(RecordError, match="II"):
        Preprocess()(record)


# Tables and arrays


def write_parquet(path, signal, names=STANDARD_LEADS, **facts):
    table = pa.table({name: signal[:, index] for index, name in enumerate(names)})
    pq.write_table(table.replace_schema_metadata(facts), path)
    return path


def test_a_table_of_parquet(tmp_path, signal):
    assert_reads(write_parquet(tmp_path / "a.bin", signal, fs="500", unit="mV"), signal, 0.01)
    times = np.column_stack((np.arange(len(signal)) / FS, signal * 1000))
    path = write_parquet(tmp_path / "b.parquet", times, ("time", *STANDARD_LEADS))
    assert_reads(path, signal, 0.01, options=ReadOptions(fs=500, unit="uV"))
    assert "its times step by" in refusal(path, ReadOptions(fs=250, unit="uV"))
    assert "states no unit" in refusal(path)
    assert "states no sampling rate" in refusal(path, ReadOptions(unit="uV"))


def test_a_table_of_parquet_about_records_is_no_ecg(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", np.zeros((3, 2)), ("age", "sex"))
    assert "is not an ECG: it is a table about something else" in refusal(path)
    assert list(find_files([tmp_path])) == [OtherFile(path, OtherFileKind.TABLE)]
    write(path, path.read_bytes()[:-9])
    assert refusal(path) == "a.parquet is not a valid Parquet file; it is damaged or cut off."


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("turned", [False, True])
def test_an_array_whose_facts_are_given(tmp_path, signal, order, turned):
    np.save(tmp_path / "a.npy", np.array(signal.T if turned else signal, order=order))
    options = ReadOptions(fs=500, unit="mV", leads=STANDARD_LEADS)
    assert_reads(tmp_path / "a.npy", signal, 0.01, options=options)
    assert "pass --fs, --unit and --leads" in refusal(tmp_path / "a.npy")
    assert list(find_files([tmp_path], options)) == [tmp_path / "a.npy"]


def test_an_array_of_another_shape_is_no_ecg(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((7, 3, 100)))
    options = ReadOptions(fs=500, unit="mV", leads=STANDARD_LEADS)
    assert "is not an ECG: it is an array of shape (7, 3, 100)" in refusal(tmp_path / "a.npy", options)
    assert [file.kind for file in find_files([tmp_path])] == [OtherFileKind.TABLE]


# Content before names


@pytest.mark.parametrize("suffix", ["", ".bin", ".dat", ".txt", ".csv", ".json", ".md", ".scp", ".dcm"])
@pytest.mark.parametrize("name", vendor.FILES)
def test_the_content_says_what_a_file_is(tmp_path, signal, name, suffix):
    content = vendor.FILES[name](signal)
    path = write(tmp_path / f"x{suffix}", content)
    expected = read_record(write(tmp_path / name, content))
    np.testing.assert_array_equal(read_record(path).signal, expected.signal)
    assert path in list(find_files([tmp_path]))


# Other people's readers and files


def peer(path):
    """What ecgdatakit reads, in mV: (leads, signal, fs)."""
    from ecgdatakit import FileParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leads = FileParser.parse(path).leads
    return [lead.label for lead in leads], np.stack([lead.samples for lead in leads], axis=1), leads[0].sampling_rate


PEERLESS = (
    "cardiosoft.xml", "sapphire.xml", "schiller.xml", "apple.csv", "a.parquet", "matlab.mat", "packed.mat", "plain.h5",
    "packed.h5", "contec.ecg", "fhir.json", "a.atc", "leads.json",
)  # fmt: skip


@pytest.mark.parametrize("name", [name for name in vendor.FILES if name not in PEERLESS])
def test_another_reader_finds_the_same_voltages(tmp_path, signal, name):
    assert_same_as_peer(write(tmp_path / name, vendor.FILES[name](signal)))


def assert_same_as_peer(path):
    leads, signal, fs = peer(path)
    record = read_record(path)
    assert [lead.upper() for lead in record.leads] == [lead.upper() for lead in leads]
    assert record.fs == fs
    np.testing.assert_allclose(record.signal, signal[: len(record.signal)], atol=1e-6)


@pytest.mark.real
@pytest.mark.parametrize(
    "name", ["hl7-aecg/subject1_0.xml", "philips/129DYPRG.XML", "philips/3191723_ZZDEMOPTONLY_1-04_orig.xml"]
)
def test_another_reader_finds_the_same_voltages_in_real_files(shared_data, name):
    assert_same_as_peer(shared_data / "formats" / name)


@pytest.mark.real
def test_one_recording_as_scp_and_as_edf_is_the_same_but_for_the_scale_that_the_edf_states_wrongly(shared_data):
    folder = shared_data / "formats/edf-scp-pair"
    scp, edf = (read_record(folder / f"0000050.ECG.{kind}") for kind in ("scp", "edf"))
    assert scp.leads == edf.leads
    assert scp.fs == edf.fs
    assert [remark.sentence for remark in scp.remarks] == [
        "the last 5088 of 37855 samples of each lead are not in the file."
    ]
    steps = np.rint(scp.signal / 0.005)  # of 5 µV, as in the recorder's own file
    np.testing.assert_allclose(scp.signal, steps * 0.005, atol=1e-6)
    stated = 2000 / 65535  # mV; the converter wrote a range of ±1000 mV for 16 bits, and each value as twice its step
    np.testing.assert_allclose(edf.signal[: len(steps)], steps * stated, atol=stated)
