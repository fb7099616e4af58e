"""WFDB records are read with the values that they were written with, whatever the way they are stored."""

import math
import re
from itertools import islice

import numpy as np
import pytest
import wfdb

from data_prep import Preprocess, ReadOptions, RecordError, find_records, read_record
from data_prep.leads import STANDARD_LEADS
from data_prep.readers import open_recording
from data_prep.readers.wfdb.header import parse_header
from data_prep.readers.wfdb.long_record import LongRecord
from data_prep.readers.wfdb.samples import count_frames, read_samples
from tests.wfdb_files import beats, edit, write_wfdb


def write(path, text):
    path.write_text(text)
    return path


def test_a_wfdb_record_is_read_as_it_was_written(tmp_path):
    record = read_record(write_wfdb(tmp_path))
    assert np.allclose(record.signal, beats(), atol=6e-4)
    assert (record.name, record.fs, record.leads, record.remarks) == ("00001_lr", 100, STANDARD_LEADS, ())


def test_a_given_rate_that_the_file_contradicts_is_not_used_and_said(tmp_path, monkeypatch):
    path = write_wfdb(tmp_path)
    assert read_record(path, ReadOptions(fs=100.01)).remarks == ()
    record = read_record(path, ReadOptions(fs=500))
    assert (record.fs, [remark.code for remark in record.remarks]) == (100, ["rate-not-used"])
    assert "100 Hz is used, not the given one of 500 Hz" in record.remarks[0].sentence
    monkeypatch.setattr("data_prep.readers.wfdb.long_record.WHOLE", 100)
    assert isinstance(open_recording(path), LongRecord)
    assert open_recording(path, ReadOptions(fs=500)).part(0, 10).remarks == record.remarks


@pytest.mark.parametrize("when", ["", " 11:39:16", " 11:39:16.5 05/02/2020", " 05-Feb-2020 11:39:16", " 5-2-2020"])
def test_the_date_of_a_record_does_not_matter(tmp_path, when):
    path = write_wfdb(tmp_path)
    edit(path, " 12 100 1000", f" 12 100 1000{when}")
    assert np.allclose(read_record(path).signal, beats(), atol=6e-4)
    with pytest.raises(RecordError, match="its first line is not that of a WFDB header"):
        read_record(edit(path, f" 12 100 1000{when}", f" 12 100 1000{when} x"))


@pytest.mark.parametrize(
    ("unit", "scale"), [("/mV", 1), ("/mv", 1), ("", 1), ("/uV", 1e-3), ("/\u00b5V", 1e-3), ("/nV", 1e-6), ("/V", 1e3)]
)
def test_every_unit_of_voltage_becomes_millivolts(tmp_path, unit, scale):
    record = read_record(write_wfdb(tmp_path, unit=unit))
    assert np.allclose(record.signal, beats() * scale, rtol=1e-6, atol=6e-4 * scale)


def test_the_user_s_unit_replaces_that_of_the_header(tmp_path):
    record = read_record(write_wfdb(tmp_path, gain="1(0)"), ReadOptions(unit="uV"))
    assert np.allclose(record.signal, beats(), atol=6e-4)


def encode_310(values):
    low, mid, high = (values.reshape(-1, 3) & 1023).T
    return np.stack([low << 1 | (high & 31) << 11, mid << 1 | (high >> 5) << 11], axis=1).astype("<u2")


def encode_311(values):
    low, mid, high = (values.reshape(-1, 3) & 1023).T
    return (low | mid << 10 | high << 20).astype("<u4")


def encode_212(values):
    low, high = (values.reshape(-1, 2) & 4095).T
    return np.stack([low & 255, low >> 8 | high >> 8 << 4, high & 255], axis=1).astype("u1")


ENCODERS = {  # as https://wfdb.io/spec/signal-files.html draws them
    "8": lambda values: np.diff(values, axis=0, prepend=values[:1]).astype("i1"),
    "16": lambda values: values.astype("<i2"),
    "24": lambda values: values.astype("<i4").view("u1").reshape(-1, 4)[:, :3],
    "32": lambda values: values.astype("<i4"),
    "61": lambda values: values.astype(">i2"),
    "80": lambda values: (values + 128).astype("u1"),
    "160": lambda values: (values + 32768).astype("<u2"),
    "212": encode_212,
    "310": encode_310,
    "311": encode_311,
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_storage_format_is_read(tmp_path, kind, rng):
    digital = rng.integers(-60, 60, size=(600, 2))
    np.ascontiguousarray(ENCODERS[kind](digital)).tofile(tmp_path / "x.dat")
    sums, first = digital.sum(axis=0) % 65536, digital[0]
    lines = [f"x.dat {kind} 50(3)/mV 12 0 {first[i]} {sums[i]} 0 {lead}" for i, lead in enumerate(("I", "II"))]
    record = read_record(write(tmp_path / "x.hea", "\n".join(["x 2 250 600", *lines])))
    assert np.allclose(record.signal, (digital - 3) / 50)
    assert record.remarks == ()


@pytest.mark.parametrize("kind", ["16", "24", "32", "80", "212", "508", "516", "524"])
def test_what_wfdb_writes_is_read_as_wfdb_reads_it(tmp_path, kind, rng, monkeypatch):
    monkeypatch.chdir(tmp_path)
    signal = rng.normal(size=(601, 2))
    signal[7, 1] = np.nan
    wfdb.wrsamp("x", fs=250, units=["mV"] * 2, sig_name=["I", "II"], p_signal=signal, fmt=[kind] * 2)
    record = read_record(tmp_path / "x.hea")
    assert np.allclose(record.signal, wfdb.rdsamp("x")[0], atol=1e-6, equal_nan=True)
    assert record.remarks == ()


@pytest.mark.parametrize("per_frame", [1, 2])
@pytest.mark.parametrize("kind", [kind for kind in ENCODERS if kind != "61"])  # of which wfdb 4.3.1 gives no integers
def test_any_bytes_are_decoded_as_wfdb_decodes_them(tmp_path, kind, per_frame, rng, monkeypatch):
    monkeypatch.chdir(tmp_path)
    n_bytes = -(-101 * 3 * per_frame * 32 // 8)
    words = rng.integers(2**30 if kind == "311" else 2**32, size=n_bytes // 4, dtype=np.uint32)  # 311 leaves two bits
    size = {"212": 1.5, "24": 3, "310": 4 / 3, "311": 4 / 3}.get(kind) or ENCODERS[kind](np.zeros((1, 1), int)).itemsize
    (tmp_path / "x.dat").write_bytes(b"begin" + words.astype("<u4").tobytes()[: math.ceil(101 * 3 * per_frame * size)])
    line = f"x.dat {kind}x{per_frame}+5 50(3)/mV 12 0 9\n"
    header = parse_header("x.hea", f"x 3 250 101\n{line * 3}".encode())
    write(tmp_path / "x.hea", f"x 3 250 101\n{line * 3}")
    assert count_frames(tmp_path / "x.hea", header, follow_links=False) == 101
    truth = np.stack(wfdb.rdrecord("x", physical=False, smooth_frames=False, return_res=64).e_d_signal, axis=1)
    assert np.array_equal(read_samples(tmp_path / "x.hea", header, 101), truth)
    assert np.array_equal(read_samples(tmp_path / "x.hea", header, 34), truth[: 34 * per_frame])


@pytest.mark.parametrize("name", ["rec.v1", "2023.05.01-1", "M\u00fcller", "patient 7", "R\u00f6der  2.b"])
def test_every_record_name_is_read_alike_in_all_formats(tmp_path, name, rng):
    digital = rng.integers(-60, 60, size=(600, 2))
    for kind in ("8", "16", "212"):  # a header is parsed alike for all formats
        np.ascontiguousarray(ENCODERS[kind](digital)).tofile(tmp_path / f"{name}.dat")
        lines = [f"{name}.dat {kind} 50(3)/mV 12 0 {digital[0, i]} 0 0 {lead}" for i, lead in enumerate(("I", "II"))]
        header = write(tmp_path / f"{name}.hea", "\n".join([f"{name} 2 250 600", *lines]))
        record = read_record(header)
        assert np.allclose(record.signal, (digital - 3) / 50)
        assert record.name == name


def test_accents_in_a_file_name_may_be_composed_or_not(tmp_path):
    header = write_wfdb(tmp_path, name="M\u00fcller")
    header.with_suffix(".dat").rename(tmp_path / "Mu\u0308ller.dat")
    assert np.allclose(read_record(header).signal, beats(), atol=6e-4)


def test_the_error_names_samples_that_lie_under_another_name_than_the_header_says(tmp_path):
    header = write_wfdb(tmp_path, name="original")
    for suffix in (".dat", ".hea"):
        header.with_suffix(suffix).rename(tmp_path / f"renamed{suffix}")
    with pytest.raises(RecordError, match=r"samples of signals 1 to 12 is not there, while renamed\.dat is; if that"):
        read_record(tmp_path / "renamed.hea")


def test_names_with_spaces_are_refused_unless_they_are_the_header_s_own(tmp_path):
    header = write_wfdb(tmp_path, name="patient 7")
    renamed = header.rename(tmp_path / "other.hea")
    with pytest.raises(RecordError):
        read_record(renamed)
    edit(renamed, "patient 7 12", "other 12")
    with pytest.raises(RecordError, match="a name with spaces is read only where it is the header's own file name"):
        read_record(renamed)


def test_signals_of_several_files_keep_the_order_of_the_header(tmp_path):
    header = write_wfdb(tmp_path)
    digital = np.fromfile(header.with_suffix(".dat"), "<i2").reshape(-1, 12)
    digital[:, ::2].tofile(tmp_path / "even.dat")
    np.ascontiguousarray(encode_212(digital[:, 1::2])).tofile(tmp_path / "odd.dat")
    lines = header.read_text().split("\n")
    for index in range(12):
        file = ("even.dat 16", "odd.dat 212")[index % 2]
        lines[1 + index] = lines[1 + index].replace("00001_lr.dat 16", file)
    header.write_text("\n".join(lines))
    assert np.allclose(read_record(header).signal, beats(), atol=6e-4)


def test_the_header_is_found_from_any_of_a_record_s_files(tmp_path):
    header = write_wfdb(tmp_path)
    assert np.array_equal(read_record(header.with_suffix(".dat")).signal, read_record(header).signal)


def test_bytes_before_the_first_sample_are_skipped(tmp_path):
    header = edit(write_wfdb(tmp_path), "00001_lr.dat 16 ", "00001_lr.mat 16x1+24 ")
    header.with_suffix(".mat").write_bytes(b"x" * 24 + header.with_suffix(".dat").read_bytes())
    assert np.allclose(read_record(header).signal, beats(), atol=6e-4)


def test_several_samples_a_frame_multiply_the_rate(tmp_path):
    # two signals of 2 samples a frame: a0 a1 b0 b1 ...; checksums are 1+2+5+6 = 14 and 3+4+7+8 = 22
    np.arange(1, 9, dtype="<i2").tofile(tmp_path / "x.dat")
    line = "x.dat 16x2 1/mV 16 0 {} 0 {}\n"
    write(tmp_path / "x.hea", "x 2 100 2\n" + line.format("1 14", "I") + line.format("3 22", "II"))
    record = read_record(tmp_path / "x.hea")
    assert record.fs == 200
    assert record.signal.T.tolist() == [[1, 2, 5, 6], [3, 4, 7, 8]]


def test_the_missing_sample_mark_is_not_a_number(tmp_path):
    signal = beats()
    signal[10:13, 4] = np.nan
    record = read_record(write_wfdb(tmp_path, signal))
    assert np.isnan(record.signal).sum(axis=0).tolist() == [0] * 4 + [3] + [0] * 7


@pytest.mark.parametrize("kept", [r" \1", ""], ids=["initial values kept", "neither kept"])
def test_a_header_without_checksums_is_read_with_a_warning(tmp_path, kept):
    header = write_wfdb(tmp_path)
    header.write_text(re.sub(r"(?m) (-?\d+) -?\d+ 0 \S+$", kept, header.read_text()))
    record = read_record(header)
    assert [remark.sentence for remark in record.remarks] == [
        "no checksum in the header: damage to the samples would go unnoticed."
    ]
    assert record.leads[0] == "signal 1"


def test_signals_without_names_take_those_that_the_user_gives_in_their_order(tmp_path):
    header = write_wfdb(tmp_path)
    named = read_record(header)
    header.write_text(re.sub(r"(?m) 0 \S+$", "", header.read_text()))
    with pytest.raises(RecordError, match="pass --leads with the leads of all columns in their order"):
        Preprocess()(read_record(header))
    record = read_record(header, ReadOptions(leads=STANDARD_LEADS[::-1]))
    assert record.leads == STANDARD_LEADS[::-1]
    np.testing.assert_array_equal(record.signal, named.signal)


def test_a_user_s_names_in_order_never_replace_those_of_a_header(tmp_path):
    assert read_record(write_wfdb(tmp_path), ReadOptions(leads=STANDARD_LEADS[::-1])).leads == STANDARD_LEADS


def test_zeros_in_place_of_checksums_count_as_none(tmp_path):
    header = write_wfdb(tmp_path)
    header.write_text(re.sub(r"(?m) -?\d+ -?\d+ 0 (\S+)$", r" 0 0 0 \1", header.read_text()))
    assert read_record(header).remarks[0].sentence.startswith("no checksum")


def test_a_header_without_a_length_takes_the_file_s(tmp_path):
    header = edit(write_wfdb(tmp_path), "100 1000\n", "100\n")
    assert np.allclose(read_record(header).signal, beats(), atol=6e-4)


def test_signals_that_are_not_voltages_are_left_out_with_a_warning(tmp_path):
    header = write_wfdb(tmp_path, np.hstack([beats(), beats()[:, :1]]), leads=(*STANDARD_LEADS, "PLETH"))
    header.write_text(
        "\n".join(
            line.replace("/mV", "/NU" * line.endswith("PLETH") or "/mV") for line in header.read_text().split("\n")
        )
    )
    record = read_record(header)
    assert record.leads == STANDARD_LEADS
    sentence = "signal 13 is not in a unit of voltage and is left out."
    assert record.remarks == (("column-left-out", sentence),)


@pytest.mark.real
@pytest.mark.parametrize("folder", ["formats/wfdb", "formats/cinc", "ptbxl-official-100hz", "ptbxl-sample/records500"])
def test_real_records_equal_wfdb_s_reading(shared_data, folder):
    paths = list(islice((path for path in find_records([shared_data / folder])), 20))
    for path in paths:
        record, (truth, fields) = read_record(path), wfdb.rdsamp(str(path.with_suffix("")))
        columns = [fields["sig_name"].index(lead) for lead in record.leads]
        assert np.allclose(record.signal, truth[:, columns], atol=1e-6)
        assert record.fs == fields["fs"]
    assert len(paths) >= 3
