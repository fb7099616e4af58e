"""Reading: each format gives the values that were written, in mV, and says what it lacks."""

import zipfile
from itertools import islice

import numpy as np
import pytest
import wfdb
from wfdb_files import beats, edit, write_wfdb

from data_prep import ReadOptions, RecordError, find_records, read_record
from data_prep.leads import STANDARD_LEADS
from data_prep.readers import FORMATS, READERS

HEAD = "# fs=100 unit=mV\nI,II,III\n"


def refusal(path, *options):
    with pytest.raises(RecordError) as caught:
        read_record(path, *options)
    return str(caught.value)


def write(path, text):
    path.write_text(text)
    return path


def save(path, **arrays):
    content = {"signal": beats(), "fs": 100, "leads": STANDARD_LEADS, **arrays}
    np.savez(path, **{key: value for key, value in content.items() if value is not None})
    return path


# WFDB


def test_a_wfdb_record_is_read_as_it_was_written(tmp_path):
    record = read_record(write_wfdb(tmp_path))
    assert np.allclose(record.signal, beats(), atol=6e-4)
    assert (record.name, record.fs, record.leads, record.warnings) == ("00001_lr", 100, STANDARD_LEADS, ())


@pytest.mark.parametrize(
    ("unit", "scale"), [("/mV", 1), ("/mv", 1), ("", 1), ("/uV", 1e-3), ("/\u00b5V", 1e-3), ("/nV", 1e-6), ("/V", 1e3)]
)
def test_every_unit_of_voltage_becomes_millivolts(tmp_path, unit, scale):
    record = read_record(write_wfdb(tmp_path, unit=unit))
    assert np.allclose(record.signal, beats() * scale, rtol=1e-6, atol=6e-4 * scale)


def test_the_unit_that_a_user_states_wins_over_the_header(tmp_path):
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
    digital = rng.integers(-100, 100, size=(600, 2))
    np.ascontiguousarray(ENCODERS[kind](digital)).tofile(tmp_path / "x.dat")
    sums, first = digital.sum(axis=0) % 65536, digital[0]
    lines = [f"x.dat {kind} 50(3)/mV 12 0 {first[i]} {sums[i]} 0 {lead}" for i, lead in enumerate(("I", "II"))]
    record = read_record(write(tmp_path / "x.hea", "\n".join(["x 2 250 600", *lines])))
    assert np.allclose(record.signal, (digital - 3) / 50)
    assert record.warnings == ()


@pytest.mark.parametrize("kind", ["16", "24", "32", "80", "212"])
def test_what_wfdb_writes_is_read_as_wfdb_reads_it(tmp_path, kind, rng, monkeypatch):
    monkeypatch.chdir(tmp_path)
    signal = rng.normal(size=(601, 2))
    wfdb.wrsamp("x", fs=250, units=["mV"] * 2, sig_name=["I", "II"], p_signal=signal, fmt=[kind] * 2)
    assert np.allclose(read_record(tmp_path / "x.hea").signal, wfdb.rdsamp("x")[0], atol=1e-6)


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


@pytest.mark.parametrize("pattern", [r" -?\d+ 0 (?=\S+$)", r" -?\d+ -?\d+ 0 \S+$"])
def test_a_header_without_checksums_is_read_with_a_warning(tmp_path, pattern):
    import re

    header = write_wfdb(tmp_path)
    cut = re.sub(r"(?m) (-?\d+) -?\d+ 0 \S+$", r" \1", header.read_text())
    header.write_text(cut if "S+$" in pattern[-4:] else re.sub(r"(?m) -?\d+$", "", cut))
    record = read_record(header)
    assert record.warnings == ("no checksum in the header: damage to the samples would go unnoticed.",)
    assert record.leads[0] == "signal 1"


def test_zeros_in_place_of_checksums_count_as_none(tmp_path):
    import re

    header = write_wfdb(tmp_path)
    header.write_text(re.sub(r"(?m) -?\d+ -?\d+ 0 (\S+)$", r" 0 0 0 \1", header.read_text()))
    assert read_record(header).warnings[0].startswith("no checksum")


def test_a_header_without_a_length_takes_the_file_s(tmp_path):
    header = edit(write_wfdb(tmp_path), "100 1000\n", "100\n")
    assert np.allclose(read_record(header).signal, beats(), atol=6e-4)


def test_signals_that_are_no_voltages_are_left_out_and_said_so(tmp_path):
    header = write_wfdb(tmp_path, np.hstack([beats(), beats()[:, :1]]), leads=(*STANDARD_LEADS, "PLETH"))
    header.write_text(
        "\n".join(
            line.replace("/mV", "/NU" * line.endswith("PLETH") or "/mV") for line in header.read_text().split("\n")
        )
    )
    record = read_record(header)
    assert record.leads == STANDARD_LEADS
    assert record.warnings == ("signal PLETH is in 'NU', which is no voltage; it is left out.",)


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


# npz


def test_an_npz_archive_is_read_as_it_was_saved(tmp_path):
    record = read_record(save(tmp_path / "a.npz"))
    assert np.array_equal(record.signal, beats())
    assert (record.name, record.fs, record.leads) == ("a", 100, STANDARD_LEADS)
    microvolts = (beats() * 1000).astype(np.int16)
    assert np.allclose(read_record(save(tmp_path / "b.npz", signal=microvolts, unit="uV")).signal, beats(), atol=1e-3)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"signal": None}, "'signal' must be an array of numbers, (time, lead); found none"),
        ({"signal": beats().T}, "'signal' has 1000 columns for 12 leads. It seems to be turned: save signal.T."),
        ({"signal": beats()[:, 0]}, "found float32 of shape (1000,)"),
        ({"signal": np.array([[None]])}, "no readable .npz archive"),
        ({"signal": beats().astype(int)}, "whole numbers need a unit"),
        ({"fs": None}, "states no sampling rate"),
        ({"fs": -1}, "sampling rate of -1"),
        ({"fs": np.nan}, "sampling rate of nan"),
        ({"leads": None}, "names no leads"),
        ({"unit": "furlong"}, "'furlong' is not one of nV, uV, mV, V"),
    ],
)
def test_an_npz_archive_that_lacks_something_says_what(tmp_path, arrays, reason):
    assert reason in refusal(save(tmp_path / "a.npz", **arrays))


def test_options_fill_in_what_an_npz_archive_does_not_state(tmp_path):
    path = save(tmp_path / "a.npz", fs=None, leads=None)
    assert read_record(path, ReadOptions(fs=250, leads=STANDARD_LEADS)).fs == 250


def test_a_damaged_npz_archive_is_refused(tmp_path, rng):
    path = save(tmp_path / "a.npz")
    content = path.read_bytes()
    for size in rng.integers(len(content), size=20):
        path.write_bytes(content[:size])
        refusal(path)


def test_an_array_that_promises_too_much_is_refused_unread(tmp_path):
    path = tmp_path / "a.npz"
    head = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 12), }".ljust(122)
    for count, reason in ((10**8, "promised"), (10**6, "holds fewer")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("signal.npy", (head % count)[:127] + b"\n")
        assert reason in refusal(path)


# csv


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_table_is_read_as_it_was_written(tmp_path, separator):
    rows = [separator.join(STANDARD_LEADS), *(separator.join(map(str, row)) for row in beats())]
    record = read_record(write(tmp_path / "a.csv", "# fs=100\n# unit=mV\n" + "\n".join(rows) + "\n"))
    assert np.allclose(record.signal, beats(), atol=1e-6)
    assert (record.fs, record.leads) == (100, STANDARD_LEADS)


def test_a_csv_table_s_facts_may_come_from_options(tmp_path):
    path = write(tmp_path / "a.csv", "1000,2000\n3000,4000\n")
    record = read_record(path, ReadOptions(fs=250, unit="uV", leads=("I", "II")))
    assert record.signal.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("times", ["0 0.01 0.02", "0 10 20", "7 8 9", "5 5.01 5.02"])
def test_a_column_of_times_is_left_out(tmp_path, times):
    rows = "".join(f"{time},1,2,3\n" for time in times.split())
    record = read_record(write(tmp_path / "a.csv", "# fs=100 unit=mV\ntime,I,II,III\n" + rows))
    assert record.leads == ("I", "II", "III")
    assert record.signal.tolist() == [[1, 2, 3]] * 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("# fs=100 unit=mV\n", "is empty"),
        ("# unit=mV\nI,II\n1,2\n", "states no sampling rate; put '# fs=500' on its first line or pass --fs"),
        ("# fs=100\nI,II\n1,2\n", "states no unit; put '# unit=mV' on its first line or pass --unit"),
        ("# fs=abc unit=mV\nI,II\n1,2\n", "sampling rate of 'abc'"),
        ("# fs=0 unit=mV\nI,II\n1,2\n", "sampling rate of '0'"),
        ("# fs=100 unit=mmHg\nI,II\n1,2\n", "'mmHg' is not one of"),
        ("# fs=100 unit=mV\n1,2\n3,4\n", "names no leads"),
        (HEAD, "no table of numbers"),
        (HEAD + "1,2\n", "2 columns of numbers for 3 names"),
        (HEAD + "1,2,3,4\n", "4 columns of numbers for 3 names"),
        (HEAD + "1,2,3\n1,2,3,4\n", "no table of numbers"),
        (HEAD + "1,2,x\n", "every cell must be a number"),
        ("# fs=100 unit=mV\ntime,I\n0,1\n0.004,1\n", "its times step by 0.004, which does not fit"),
    ],
)
def test_a_csv_table_that_lacks_something_says_what(tmp_path, text, reason):
    assert reason in refusal(write(tmp_path / "a.csv", text))


def test_an_empty_cell_is_not_a_number(tmp_path):
    record = read_record(write(tmp_path / "a.csv", HEAD + "1,2,3\n1,,3\n"))
    assert np.isnan(record.signal).tolist() == [[False] * 3, [False, True, False]]


# all formats


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"\x89PNG\r\n\x1a\n", "\u00fc\n".encode("utf-16")])
def test_nonsense_is_refused_by_every_reader(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert refusal(path).startswith("a.")


def test_files_without_a_reader_say_which_there_are(tmp_path):
    path = write(tmp_path / "a1.docx", "")
    assert refusal(path).startswith(
        "a1.docx: no reader for '.docx' files; there is one for .hea, .dat, .mat, .npz, .csv"
    )
    assert refusal(tmp_path / "a1.xyz").endswith("a1.xyz: there is no such file.")
    assert refusal(tmp_path / "*.xyz").endswith("*.xyz: nothing matches this pattern.")


def test_no_suffix_belongs_to_two_formats():
    assert len(READERS) == sum(len(module.SUFFIXES) for module in FORMATS)


@pytest.mark.parametrize("options", [{"fs": 0}, {"fs": float("nan")}, {"unit": "furlong"}, {"leads": ()}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ReadOptions(**options)


# finding


def test_a_folder_gives_each_record_once_in_order(tmp_path):
    (tmp_path / "sub").mkdir()
    for folder, name in ((tmp_path, "b"), (tmp_path, "a"), (tmp_path / "sub", "c")):
        write_wfdb(folder, name=name)
    save(tmp_path / "d.npz")
    for table in ("ptbxl_database.csv", "notes.txt", "RECORDS"):
        write(tmp_path / table, "")
    found = [str(path.relative_to(tmp_path)) for path in find_records([tmp_path])]
    assert found == ["a.hea", "b.hea", "d.npz", "sub/c.hea"]


def test_files_patterns_and_bare_names_are_found_once(tmp_path):
    header = write_wfdb(tmp_path)
    named = [header, header.with_suffix(".dat"), header.with_suffix(""), str(tmp_path / "*.dat"), str(tmp_path / "*.x")]
    assert list(find_records(named)) == [header, tmp_path / "*.x"]


def test_what_is_missing_is_passed_on_for_reading_to_refuse(tmp_path):
    missing = tmp_path / "missing.npz"
    assert list(find_records([missing])) == [missing]
    assert list(find_records([tmp_path])) == []


def test_links_that_lead_back_do_not_trap_the_search(tmp_path):
    write_wfdb(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(list(find_records([tmp_path]))) == 1


def test_a_search_begins_to_answer_before_it_ends(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
        write_wfdb(tmp_path / name, beats(10))
    search = find_records([tmp_path])
    assert next(search).parent.name == "a"
    (tmp_path / "c" / "00001_lr.hea").unlink()
    assert [path.parent.name for path in search] == ["b"]
