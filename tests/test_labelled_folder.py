import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.labelled_folder import read_labelled_folder, split_of
from data_prep.tables import SourceError


def labelled(folder, text):
    (folder / "labels.csv").write_text(text)
    return read_labelled_folder(folder)


def test_every_other_column_is_a_label_in_the_tables_order(tmp_path):
    source = labelled(tmp_path, "record,patient_id,VT,AF\na,1,0,1\nb,2,1,1\nc,3,0,0\n")
    assert source.label_sets == {"labels": ("VT", "AF")}
    assert list(source.records["labels"]) == ["AF", "VT;AF", ""]
    assert source.files == ("a.hea", "b.hea", "c.hea")


def test_patients_keep_their_leading_zeros(tmp_path):
    assert list(labelled(tmp_path, "record,patient_id,AF\na,007,0\n").records["patient_id"]) == ["007"]


def test_a_split_depends_on_the_patient_alone():
    # sha256("7") begins 7902699be42c8a8e: modulo 10 that is 0x7902699be42c8a8e % 10 = 8719199498917513870 % 10 = 0
    assert hashlib.sha256(b"7").hexdigest().startswith("7902699be42c8a8e")
    assert split_of("7") == "train"
    shares = [split_of(str(patient)) for patient in range(5000)]
    assert 0.78 < shares.count("train") / 5000 < 0.82
    assert 0.08 < shares.count("validation") / 5000 < 0.12


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), min_size=1, max_size=30))
def test_no_patient_is_ever_in_two_splits(tmp_path_factory, rows):
    lines = [f"r{index},{patient},{int(label)}" for index, (patient, label) in enumerate(rows)]
    source = labelled(tmp_path_factory.mktemp("folder"), "record,patient_id,AF\n" + "\n".join(lines))
    source.require_sound()
    assert source.records.groupby("patient_id")["split"].nunique().max() == 1


def test_a_given_split_is_kept(tmp_path):
    records = labelled(tmp_path, "record,split,AF\na,test,0\nb,train,1\n").records
    assert list(records["split"]) == ["test", "train"]


def test_given_folds_are_split_as_ptbxls(tmp_path):
    records = labelled(tmp_path, "record,fold,AF\na,8,0\nb,9,1\nc,10,1\n").records
    assert list(records["split"]) == ["train", "validation", "test"]


def test_without_patients_each_record_is_one_and_the_user_is_told(tmp_path):
    source = labelled(tmp_path, "record,split,AF\na,test,0\nb,train,1\n")
    assert list(source.records["patient_id"]) == ["a", "b"]
    assert "no column patient_id" in source.notes[0]
    assert "'validation'" in source.notes[1]


def test_other_formats_are_found_by_their_suffix(tmp_path):
    (tmp_path / "b.npz").touch()
    source = labelled(tmp_path, "record,AF\na.hea,0\nb,1\nc.1.csv,1\n")
    assert source.files == ("a.hea", "b.npz", "c.1.csv")
    assert list(source.records["name"]) == ["a", "b", "c.1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,AF\na,1\n", "no column record; it has name, AF"),
        ("record,patient_id\na,1\n", "no label"),
        ("record,AF\n", "no record is listed"),
        ("", "not readable as CSV"),
        ("record,AF,AF\na,1,0\n", "the column 'AF' is there twice"),
        ("record,A;F\na,1\n", "'A;F' cannot name a label"),
        ("record,AF\na,1\nb,yes\n", "line 3: AF is 'yes'; a label is 0 or 1"),
        ("record,AF\na,\n", "line 2: AF is ''; a label is 0 or 1"),
        ("record,AF\na,1\na,0\n", "The record with name a is listed twice"),
        ("record,AF\n/etc/a,1\n", "'/etc/a' does not name a file inside the folder"),
        ("record,AF\n,1\n", "'' does not name a file inside the folder"),
        ("record,patient_id,AF\na,,1\n", "line 2: patient_id is empty"),
        ("record,split,AF\na,val,1\n", "line 2: split is 'val'; a split is one of train, validation, test"),
        ("record,fold,AF\na,0,1\n", "line 2: fold is '0'; folds are 1 to 10"),
        ("record,fold,AF\na,x,1\n", "line 2: fold is 'x', which is no number"),
        ("record,patient_id,split,AF\na,5,train,1\nb,5,test,1\n", "Patient 5 has records in test and train"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path, text, message):
    with pytest.raises(SourceError, match=message):
        labelled(tmp_path, text).require_sound()


def test_further_problems_are_counted(tmp_path):
    with pytest.raises(SourceError, match=r"line 2.*There are 2 more such problems"):
        labelled(tmp_path, "record,AF\na,2\nb,3\nc,4\n").require_sound()
