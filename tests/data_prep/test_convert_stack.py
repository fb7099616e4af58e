"""Conversion of files of many ECGs: each becomes a record, under its id, and each is accounted for."""

import csv
from contextlib import suppress

import numpy as np
import pytest
from typer.testing import CliRunner

from data_prep.convert import ConvertError, convert
from data_prep.leads import STANDARD_LEADS
from data_prep.readers import ReadOptions, open_stack, read_record
from data_prep.record import RecordError
from ecgmtl.cli import app

h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'ecgmtl[hdf5]'")

from tests.stack_files import CODE_LEADS, FACTS, exams, pieces, write_hdf5  # noqa: E402

OPTIONS = ReadOptions(fs=400, unit="mV", leads=CODE_LEADS)
IDS = np.array([1169160, 12, 2873686, 168405, 271011])


def outcome(source, out, options=OPTIONS):
    """Return, for each ECG, the name of its record, or why there is none."""
    results = list(convert(source, out, options))
    return [result.header.stem if result.header else result.failure for result in results], results


def assert_written(folder, names, values):
    for name, wanted in zip(names, pieces(values), strict=True):
        record = read_record(folder / f"{name}.hea")
        assert (record.fs, record.leads) == (400, STANDARD_LEADS)
        assert np.abs(record.signal - wanted).max() <= 0.0005 + 1e-6  # half a microvolt, and float32


def test_each_exam_becomes_a_record_of_its_id(tmp_path):
    values = exams()
    path = write_hdf5(tmp_path / "exams_part0.hdf5", values, IDS, chunks=(2, 1024, 12), compression="gzip")
    names, results = outcome(path, tmp_path / "wfdb")
    assert names == [str(number) for number in IDS]
    assert not any(result.warnings for result in results)
    assert_written(tmp_path / "wfdb", names, values)
    assert len(list((tmp_path / "wfdb").iterdir())) == 10


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".hdf5"])
@pytest.mark.parametrize("turned", [False, True])
def test_ecgs_without_ids_are_numbered_as_python_does(tmp_path, suffix, turned):
    values = exams(11)
    stored, path = values.transpose(0, 2, 1) if turned else values, tmp_path / f"X test.v1{suffix}"
    if suffix == ".npy":
        np.save(path, stored)
    elif suffix == ".npz":
        np.savez(path, X=stored, y=np.zeros(11))
    else:
        write_hdf5(path, stored)
    names, _ = outcome(path, tmp_path / "out")
    assert names == [f"X_test_v1_{number:02}" for number in range(11)]
    assert_written(tmp_path / "out", names, values)


@pytest.mark.parametrize(
    ("ids", "remark"),
    [
        ([1, 2, 3, 4, 1], "its ids are not all different or cannot be names of records"),
        ([b"a", b"b", b"c", b"d", b"A"], "its ids are not all different or cannot be names of records"),
        ([b"a", b"b", b"c", b"d", b"../e"], "its ids are not all different or cannot be names of records"),
        ([b"a", b"b", b"c", b"d", b""], "its ids are not all different or cannot be names of records"),
        ([b"a", b"b", b"c", b"d", b"\xff"], "its ids are not all different or cannot be names of records"),
        ([b"a", b"b", b"c", b"d", b"e" * 65], "its ids are not all different or cannot be names of records"),
        ([1, 2, 3, 4, -5], "its ids are not all different or cannot be names of records"),
        (["a", "b", "c", "d", "ä"], "its ids are not all different or cannot be names of records"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], "its ids are not whole numbers or texts, one for each ECG"),
        ([1, 2, 3, 4], "its ids are not whole numbers or texts, one for each ECG"),
    ],
)
def test_ids_that_are_not_safe_and_unique_are_not_used_and_that_is_told_once(tmp_path, ids, remark):
    path = write_hdf5(tmp_path / "a.h5", exams(), ids)
    names, results = outcome(path, tmp_path / "out")
    assert names == [f"a_{number}" for number in range(5)]
    (told,) = [warning for result in results for warning in result.warnings]
    assert told.startswith(remark)


@pytest.mark.parametrize("dtype", [None, h5py.string_dtype(), h5py.string_dtype("utf-8", 9)], ids=str)
@pytest.mark.parametrize("packing", [{}, {"chunks": (2,)}, {"chunks": (100,), "compression": "gzip", "shuffle": True}])
@pytest.mark.parametrize("block", [0, 1024])
def test_ids_may_be_texts_of_any_kind(tmp_path, dtype, packing, block):
    ids = [f"exam_{number}" for number in range(700)]
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=block) as file:
        file["tracings"] = np.ones((700, 100, 12), np.int8)
        texts = np.array(ids, "S") if dtype is None else ids
        file.create_dataset("exam_id", data=texts, dtype=dtype, maxshape=(None,) if packing else None, **packing)
    with open_stack(tmp_path / "a.h5") as stack:
        assert list(stack.ids) == ids


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GCOL", b"GCOX"),
        (b"GCOL\x01\0\0\0\0\x10", b"GCOL\x01\0\0\0\xff\xff"),
        (b"\x01\0\0\0\0\0\0\0\x06\0", b"\x01\0\0\0\0\0\0\0\xff\xff"),
        (b"\x01\0\0\0\0\0\0\0\x06\0", b"\x07\0\0\0\0\0\0\0\x06\0"),
        (b"\x06\0\0\0", b"\xff\xff\xff\xff"),
    ],
)
def test_damaged_texts_are_no_ids_and_end_nothing(tmp_path, old, new):
    path = write_hdf5(tmp_path / "a.h5", exams(3), ["exam_a", "exam_b", "exam_c"])
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with suppress(RecordError), open_stack(path) as stack:
        assert stack.ids is None or len(set(stack.ids)) == 3


@pytest.mark.parametrize("ids", [["a", "b_1", "c-2", "D", "9"], [b"a", b"b_1", b"c-2", b"D", b"9"], range(5)])
def test_ids_of_an_archive_are_names(tmp_path, ids):
    np.savez(tmp_path / "a.npz", signal=exams(), record_id=np.array(ids))
    assert outcome(tmp_path / "a.npz", tmp_path / "out")[0] == [
        each.decode() if isinstance(each, bytes) else str(each) for each in ids
    ]


def test_an_exam_that_is_empty_or_holds_no_numbers_fails_by_name_and_the_others_go_on(tmp_path):
    values = exams()
    values[1], values[2, 300, 4], values[3, 300, 4] = 0, np.nan, np.inf
    names, _ = outcome(write_hdf5(tmp_path / "a.h5", values, IDS), tmp_path / "out")
    assert names == [
        "1169160",
        "a.h5, 12: all of its values are 0, so there is no ECG in it.",
        "a.h5, 2873686: 1 of its values are NaN or infinite.",
        "a.h5, 168405: 1 of its values are NaN or infinite.",
        "271011",
    ]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.hea")) == ["1169160.hea", "271011.hea"]


def test_an_interrupted_conversion_goes_on_and_reads_nothing_twice(tmp_path, monkeypatch):
    values = exams()
    path = write_hdf5(tmp_path / "a.h5", values, IDS)
    results = convert(path, tmp_path / "out", OPTIONS)
    done = [next(results).header for _ in range(3)]
    results.close()
    before = {header: header.stat().st_mtime_ns for header in done}
    read = []
    monkeypatch.setattr(
        "data_prep.readers.stack.Stack.finite_record",
        lambda stack, index, name, layout: read.append(index) or stack.record(index, name, layout),
    )
    assert [result.existed for result in convert(path, tmp_path / "out", OPTIONS)] == [True] * 3 + [False] * 2
    assert read == [3, 4]
    assert {header: header.stat().st_mtime_ns for header in done} == before
    assert_written(tmp_path / "out", IDS, values)


def test_a_fact_that_is_missing_is_one_failure_of_the_file(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", exams(), IDS)
    assert outcome(path, tmp_path / "out", ReadOptions(fs=400))[0] == [
        "a.h5 does not state: unit (pass --unit), names of leads (pass --leads with 12 names in their order)."
    ]
    assert not (tmp_path / "out").exists()


def test_a_rate_that_the_file_states_is_used_and_that_is_told_once(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", exams(), IDS, FACTS)
    names, results = outcome(path, tmp_path / "out", ReadOptions(fs=500))
    assert_written(tmp_path / "out", names, exams())
    (told,) = [warning for result in results for warning in result.warnings]
    assert told.startswith("its stated sampling rate of 400 Hz is used, not the given one of 500 Hz")


def test_a_truncated_archive_loses_what_lies_behind_the_cut(tmp_path):
    np.savez(tmp_path / "a.npz", X=exams())
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[-60_000] ^= 255  # in the last ECG; the checksum is compared at the end
    (tmp_path / "a.npz").write_bytes(content)
    names, _ = outcome(tmp_path / "a.npz", tmp_path / "out")
    assert names[:4] == [f"a_{number}" for number in range(4)]
    assert names[4].startswith("a.npz, a_4 is not readable: a.npz cannot be read: it is damaged")


@pytest.mark.parametrize("out", ["out.hea", "file"])
def test_many_ecgs_go_into_a_folder(tmp_path, out):
    (tmp_path / "file").touch()
    path = write_hdf5(tmp_path / "a.h5", exams(), IDS)
    with pytest.raises(ConvertError, match=r"name a folder, because \S+a\.h5 holds 5 ECGs"):
        list(convert(path, tmp_path / out, OPTIONS))


def test_a_single_ecg_is_one_record(tmp_path):
    np.save(tmp_path / "a.npy", exams(1))
    assert outcome(tmp_path / "a.npy", tmp_path / "b")[0] == ["b"]
    assert_written(tmp_path, ["b"], exams(1))


def test_in_a_folder_each_file_becomes_a_folder_and_each_ecg_is_accounted_for(tmp_path):
    (tmp_path / "in/sub").mkdir(parents=True)
    write_hdf5(tmp_path / "in/exams_part0.hdf5", exams(2), IDS[:2], chunks=(1, 1024, 12), compression="gzip")
    write_hdf5(tmp_path / "in/exams_part1.hdf5", exams(2), IDS[:2])
    (tmp_path / "in/exams_part2.hdf5").write_bytes(b"damaged")
    np.save(tmp_path / "in/sub/X.npy", exams(3))
    (tmp_path / "in/exams_part0.npz").touch()
    (tmp_path / "in/exams.csv").write_text("exam_id,AF\n12,True\n")
    options = ["--fs", "400", "--unit", "mV", "--leads", ",".join(CODE_LEADS)]
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "in"), str(tmp_path / "out"), *options])
    assert done.exit_code == 3
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/**/*.hea")) == [
        "exams_part0/1169160.hea",
        "exams_part0/12.hea",
        "exams_part1/1169160.hea",
        "exams_part1/12.hea",
        "sub/X/X_0.hea",
        "sub/X/X_1.hea",
        "sub/X/X_2.hea",
    ]
    assert "7 records written, 2 failed" in done.stderr
    assert "1 table about records: exams.csv" in done.stderr
    again = CliRunner().invoke(app, ["convert", str(tmp_path / "in"), str(tmp_path / "out"), *options])
    assert "0 records written, 7 there already, 2 failed" in again.stderr


def test_two_files_of_one_name_share_a_folder_but_no_record(tmp_path):
    (tmp_path / "in").mkdir()
    write_hdf5(tmp_path / "in/a.h5", exams(2), [1, 2])
    np.savez(tmp_path / "in/a.npz", X=exams(2), id=[2, 3])
    names, _ = outcome(tmp_path / "in", tmp_path / "out")
    assert names[:2] + names[3:] == ["1", "2", "3"]
    assert names[2].startswith("a.npz, 2: a.h5, 2 is converted to ")


def test_a_prediction_and_a_check_refuse_the_file_alone_with_the_command_that_converts_it(tmp_path):
    write_hdf5(tmp_path / "exams.hdf5", exams(), IDS)
    np.save(tmp_path / "X.npy", exams())
    np.savez(tmp_path / "good.npz", signal=exams(1)[0], fs=400, leads=STANDARD_LEADS)
    done = CliRunner().invoke(app, ["predict", str(tmp_path), "--out", str(tmp_path / "p.csv")])
    assert done.exit_code == 3
    with (tmp_path / "p.csv").open() as file:
        rows = {row["path"].rpartition("/")[2]: row for row in csv.DictReader(file)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "exams.hdf5": "failed",
        "X.npy": "failed",
        "good.npz": "ok",
    }
    checked = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--workers", "1"])
    for text in (rows["exams.hdf5"]["message"], checked.output):
        assert "exams.hdf5 is an array of 5 ECGs (5 x 1024 x 12), not a single one" in text
        assert "ecgmtl convert exams.hdf5 exams-wfdb --fs HERTZ --unit UNIT --leads NAMES" in text


def test_a_rate_that_no_ecg_has_is_replaced_by_the_given_one(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", exams(2), facts=FACTS | {"fs": 0.4})
    names, results = outcome(path, tmp_path / "out")
    assert all(result.warnings[0].startswith("its stated sampling rate of 0.4 Hz") for result in results)
    assert_written(tmp_path / "out", names, exams(2))
