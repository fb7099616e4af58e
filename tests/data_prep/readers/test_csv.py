"""Tables of text are read as they were written, and say what they lack."""

import numpy as np
import pytest

from data_prep import ReadOptions, read_record
from data_prep.leads import STANDARD_LEADS, standard_lead
from tests.refusals import refusal
from tests.wfdb_files import beats

HEAD = "# fs=100 unit=mV\nI,II,III\n"


def write(path, text):
    path.write_text(text)
    return path


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


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("time", "0 0.01 0.02"),
        ("t", "0 10 20"),
        ("Time (s)", "5 5.01 5.02"),
        ("time_ms", "0 10 20"),
        ("us", "0 10000 20000"),
        ("sample", "7 8 9"),
        ("samples", "0 1 2"),
        ("times", "0 10 20"),
        ("ts", "0 10000 20000"),
        ("index", "0 0.01 0.02"),
        ("", "0 1 2"),
    ],
)
def test_a_column_of_times_is_left_out(tmp_path, name, times):
    rows = "".join(f"{time},1,2,3\n" for time in times.split())
    record = read_record(write(tmp_path / "a.csv", f"# fs=100 unit=mV\n{name},I,II,III\n" + rows))
    assert record.leads == ("I", "II", "III")
    assert record.signal.tolist() == [[1, 2, 3]] * 3


def test_a_text_of_muse_is_read_with_the_facts_that_it_lacks(tmp_path):
    path = write(tmp_path / "a.txt", "\n\n\nRhythm signal: 2 X 3 \n\n 20 -19 -39 \n19 -19 -39 \n")
    assert "names no leads" in refusal(path)
    record = read_record(path, ReadOptions(fs=500, unit="uV", leads=("I", "II", "III")))
    np.testing.assert_allclose(record.signal, [[0.02, -0.019, -0.039], [0.019, -0.019, -0.039]], atol=1e-6)


def test_averaged_beats_below_a_rhythm_of_muse_are_not_joined_to_it(tmp_path):
    path = write(tmp_path / "a.txt", "Rhythm signal: 2 X 2\n20 -19\n19 -19\nMedian signal: 2 X 2\n1 2\n3 4\n")
    assert "a.txt holds several tables" in refusal(path, ReadOptions(fs=500, unit="uV", leads=("I", "II")))


@pytest.mark.parametrize(
    ("name", "a_second", "digits", "fs"),
    [("time_s", 1, 6, 360), ("time (ms)", 1000, 0, 360), ("seconds", 1, 3, 512), ("t_us", 1e6, 0, 333.3)],
)
def test_a_column_of_times_with_a_unit_states_the_rate(tmp_path, name, a_second, digits, fs):
    rows = "".join(f"{i / fs * a_second:.{digits}f},1,2\n" for i in range(1500))
    record = read_record(write(tmp_path / "a.csv", f"# unit=mV\n{name},I,II\n{rows}"))
    assert record.fs == pytest.approx(fs, rel=1e-3)


@pytest.mark.parametrize("name", ["time", "time_s"])
def test_a_column_of_times_without_a_unit_or_with_a_gap_states_no_rate(tmp_path, name):
    rows = "".join(f"{(i + (i > 700) * 50) / 100},1,2\n" for i in range(1500))
    path = write(tmp_path / "a.csv", f"# unit=mV\n{name},I,II\n{rows}")
    assert "states no sampling rate" in refusal(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("# fs=100 unit=mV\n", "is empty"),
        ("# unit=mV\nI,II\n1,2\n", "states no sampling rate; put '# fs=500' on its first line or pass --fs"),
        ("# fs=100\nI,II\n1,2\n", "states no unit; put '# unit=mV' on its first line or pass --unit"),
        ("# fs=abc unit=mV\nI,II\n1,2\n", "a sampling rate that is not a number of hertz"),
        ("# fs=0 unit=mV\nI,II\n1,2\n", "a sampling rate that is not a number of hertz above 0"),
        ("# fs=100 unit=mmHg\nI,II\n1,2\n", "lead I has a stated unit that is not one of"),
        ("# fs=100 unit=mV\n1,2\n3,4\n", "names no leads"),
        (HEAD, "not a table of numbers"),
        (HEAD + "1,2\n", "2 columns of numbers for 3 names"),
        (HEAD + "1,2,3,4\n", "4 columns of numbers for 3 names"),
        (HEAD + "1,2,3\n1,2,3,4\n", "not a table of numbers"),
        (HEAD + "1,2,x\n", "every cell must be a number"),
        ("# fs=100 unit=mV\ntime,I\n0,1\n0.004,1\n", "its times step by 0.004, which does not fit"),
        ("# fs=500 unit=mV\ntime_ms,I\n0,1\n1,1\n", "its times step by 1, which does not fit the sampling rate of 500"),
        ("# fs=500 unit=mV\ntime (s),I\n0,1\n1,1\n", "its times step by 1, which does not fit"),
        ("# fs=500 unit=mV\nsample,I\n0,1\n0.004,1\n", "its times step by 0.004, which does not fit"),
        ("# fs=500 unit=mV\ntime,I\n0,1\n1,1\n", "its times step by 1, which does not fit"),
        ("# fs=500 unit=mV\nI,II,C1,C10\n1,2,3,4\n", "has channels C1 to C10, as an electroencephalogram has"),
    ],
)
def test_the_error_for_a_csv_table_says_what_it_lacks(tmp_path, text, reason):
    assert reason in refusal(write(tmp_path / "a.csv", text))


def table(separator=",", decimal=".", names=STANDARD_LEADS, head="# fs=100 unit=mV\n"):
    rows = [separator.join(f"{value:.3f}".replace(".", decimal) for value in row) for row in beats(300)]
    return head + separator.join(names) + "\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (table("|"), "utf-8"),
        (table(" "), "utf-8"),
        (table("; "), "utf-8-sig"),
        (table(";", ","), "utf-8"),
        (table("\t", ","), "utf-16"),
        (table(" ", ","), "utf-16"),
        (table().replace("\n", "\r\n"), "utf-32"),
        (table(head="sep=;\n# fs=100 unit=mV\n", separator=";"), "utf-8"),
        (table(head='# fs=100 unit=mV\n"sep=~"\n', separator="~"), "utf-8"),
        (table(head="# fs=100\n", names=[*STANDARD_LEADS[:11], "V6\n" + ",".join(["[mV]"] * 12)]), "utf-8"),
        (table(head="# fs=100Hz unit=mV,,,,,\n"), "utf-8"),
        (table(head="# Sampling rate: 100 Hz\n# Units: mV\n# Time unit: s\n# Notch frequency: 50 Hz\n"), "utf-8"),
        (table(head="# Sampling Frequency [kHz] = 0,1\n# unit: 'milliVolts'\n"), "utf-8"),
        (table(head="# fs=100\n# fs = 100.0 Hz, unit=mV\n"), "utf-8"),
        (table(head="# fs=100 unit=mV\n# "), "utf-8"),  # numpy.savetxt comments the names out
        (table(names=[f'"{lead} [mV]"' for lead in STANDARD_LEADS], head="# fs=100\n"), "utf-8"),
        (table().replace("\n0.", "\n\n# a note, of two parts\n0."), "utf-8"),
    ],
)
def test_the_dialects_of_spreadsheets_and_recorders_are_read(tmp_path, text, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    record = read_record(path)
    assert np.allclose(record.signal, beats(300), atol=5.1e-4)
    assert [standard_lead(lead) for lead in record.leads] == list(STANDARD_LEADS)
    assert record.fs == 100


def test_a_unit_in_latin_1_and_units_of_single_columns_are_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("# fs=100 unit=\u00b5V\nI,II\n1000,2000\n".encode("latin-1"))
    assert read_record(path).signal.tolist() == [[1, 2]]
    write(path, "# fs=100\ntime,I (mV),II [V],Pulse\ns,mV,V,1/min\n0,1,2,60\n0.01,1,2,60\n")
    record = read_record(path)
    assert record.signal.tolist() == [[1, 2000]] * 2
    assert [remark.sentence for remark in record.remarks] == [
        "column 3 is not in a known unit of voltage and is left out."
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD + "0,1,0,2,0,3\n", "6 columns of numbers for 3 names. If its commas are decimal, separate"),
        ("# fs=100 unit=mV\nLead I Lead II\n1 2\n", "2 columns of numbers for 4 names. If its names hold spaces"),
        ("# fs=100 unit=mV\nI;II\n0,5;0.5\n", "numbers with points and numbers with commas"),
        ("# fs=100 unit=uV\nI;II\n1,234;-2,345\n", "its commas may be decimal commas or separate thousands"),
        ("# fs=1,000 unit=mV\nI\n1\n", "a sampling rate that is not a number of hertz"),
        ("# fs=100 unit=mV\n# fs=200\nI\n1\n", "states the sampling rates 100 Hz and 200 Hz"),
        ("# fs=100 unit=mV\n# unit=uV\nI\n1\n", "states the units mV and uV"),
        ("# fs=100 unit=mV\nI,II\nuV,uV\n1,2\n", "states mV, but uV below the names"),
        ("# fs=100\nI [uV],II\n1,2\n", "states no unit for lead II"),
        ("# fs=100 unit=mV\nI [uV],II\n1,2\n", "lead I is in uV by its name, but the file states mV"),
        ("# fs=100 unit=mV\nname,age\nMaier,60\n", "none of its 2 columns has the name of a lead"),
        (HEAD + "1,2,3\n1,2\n", "row 2 has 2 cells for 3 names"),
        (HEAD + "1,2,True\n", "row 1, lead III is not a number"),
        (HEAD + '1,2,"3\n1,2,3\n', "not a table of numbers"),
        (HEAD + "1,2," + "3" * 70_000 + "\n", "a line of more than 65536 characters"),
        ("#" * 70_000 + "\n" + HEAD + "1,2,3\n", "a line of more than 65536 characters"),
        ("#\n" * 10_001, "more than 10000 lines of comments or blanks"),
        (HEAD.replace("I", "a," * 1000 + "I", 1), "no ECG has more than 1000"),
        (HEAD + "1,2,3\0\n", "contains NUL bytes"),
    ],
)
def test_the_error_for_a_csv_table_says_why_it_cannot_be_read(tmp_path, text, reason):
    assert reason in refusal(write(tmp_path / "a.csv", text))


def test_no_cell_is_quoted_in_a_refusal(tmp_path):
    for text in (HEAD + "1,Maier,3\n", "# fs=100 unit=mV\nMaier,Eva\n1,2\n", HEAD + "1,2,3\n1,2,3,Maier\n"):
        assert "Maier" not in refusal(write(tmp_path / "a.csv", text))


def test_the_beginning_of_a_long_table_equals_that_of_the_whole_table(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.readers.csv._ROWS", 999)
    path, text = tmp_path / "a.csv", HEAD + "".join(f"{row},2,3\n" for row in range(2400)) + "7,8,9"
    for encoding, end in (("utf-8", "\n"), ("utf-16", "")):
        path.write_bytes((text + end).encode(encoding))
        whole = read_record(path, ReadOptions(seconds=10))
        assert whole.signal[:, 0].tolist() == [*range(2400), 7]
        with monkeypatch.context() as patch:
            for module in ("options", "csv"):
                patch.setattr(f"data_prep.readers.{module}.WHOLE", 1500)
            beginning = read_record(path, ReadOptions(seconds=10))
        assert np.array_equal(beginning.signal, whole.signal[:1000])
        assert beginning.seconds == whole.seconds == 24.01


def test_the_sampling_rate_of_the_options_arrives_in_the_record(tmp_path):
    path = write(tmp_path / "a.csv", table(head="# unit=mV\n"))
    assert read_record(path, ReadOptions(fs=101)).fs == 101
    assert read_record(write(path, table()), ReadOptions(fs=101)).fs == 100  # a file's own statement is kept


def test_an_empty_cell_is_not_a_number(tmp_path):
    record = read_record(write(tmp_path / "a.csv", HEAD + "1,2,3\n1,,3\n"))
    assert np.isnan(record.signal).tolist() == [[False] * 3, [False, True, False]]
