"""Tables of text are read as they were written, and say what they lack."""

import numpy as np
import pytest
from wfdb_files import beats

from data_prep import ReadOptions, RecordError, read_record
from data_prep.leads import STANDARD_LEADS

HEAD = "# fs=100 unit=mV\nI,II,III\n"


def refusal(path, *options):
    with pytest.raises(RecordError) as caught:
        read_record(path, *options)
    return str(caught.value)


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
        ("# fs=500 unit=mV\ntime_ms,I\n0,1\n1,1\n", "its times step by 1, which does not fit the sampling rate of 500"),
        ("# fs=500 unit=mV\ntime (s),I\n0,1\n1,1\n", "its times step by 1, which does not fit"),
        ("# fs=500 unit=mV\nsample,I\n0,1\n0.004,1\n", "its times step by 0.004, which does not fit"),
        ("# fs=500 unit=mV\ntime,I\n0,1\n1,1\n", "its times step by 1, which does not fit"),
    ],
)
def test_a_csv_table_that_lacks_something_says_what(tmp_path, text, reason):
    assert reason in refusal(write(tmp_path / "a.csv", text))


def test_an_empty_cell_is_not_a_number(tmp_path):
    record = read_record(write(tmp_path / "a.csv", HEAD + "1,2,3\n1,,3\n"))
    assert np.isnan(record.signal).tolist() == [[False] * 3, [False, True, False]]
