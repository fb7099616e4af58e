import hashlib
import unicodedata

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.sources import read_source
from data_prep.sources.labeled_folder import read_labeled_folder, split_of
from data_prep.sources.tables import SourceError


def labeled(folder, text):
    (folder / "labels.csv").write_text(text)
    return read_labeled_folder(folder)


def test_every_other_column_is_a_label_in_the_tables_order(tmp_path):
    source = labeled(tmp_path, "record,patient_id,VT,AF\na,1,0,1\nb,2,1,1\nc,3,0,0\n")
    assert source.label_sets == {"labels": ("VT", "AF")}
    assert list(source.records["labels"]) == ["AF", "VT;AF", ""]
    assert source.files == ("a.hea", "b.hea", "c.hea")


def test_patients_keep_their_leading_zeros(tmp_path):
    assert list(labeled(tmp_path, "record,patient_id,AF\na,007,0\n").records["patient_id"]) == ["007"]
    two = labeled(tmp_path, "record,patient_id,AF\na,a-7,0\nb,b-007,1\n")  # as the message about 7 and 007 advises
    assert (list(two.records["patient_id"]), two.problems) == (["a-7", "b-007"], ())


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
    source = labeled(tmp_path_factory.mktemp("folder"), "record,patient_id,AF\n" + "\n".join(lines))
    source.require_sound()
    assert source.records.groupby("patient_id")["split"].nunique().max() == 1


def test_a_given_split_is_kept(tmp_path):
    records = labeled(tmp_path, "record,split,AF\na,test,0\nb,train,1\n").records
    assert list(records["split"]) == ["test", "train"]


def test_given_folds_are_split_as_ptbxls(tmp_path):
    records = labeled(tmp_path, "record,fold,AF\na,8,0\nb,9,1\nc,10,1\n").records
    assert list(records["split"]) == ["train", "validation", "test"]


def test_without_patients_each_record_counts_as_one_with_a_note(tmp_path):
    source = labeled(tmp_path, "record,split,AF\na,test,0\nb,train,1\n")
    assert list(source.records["patient_id"]) == ["a", "b"]
    assert "no column patient_id" in source.notes[1]
    assert "'validation'" in source.notes[2]


def test_other_formats_are_found_by_their_suffix_or_their_content(tmp_path):
    (tmp_path / "b.npz").touch()
    (tmp_path / "d.xml").write_text("<RestingECG/>")
    (tmp_path / "d.txt.xml").write_text("<RestingECG/>")
    source = labeled(tmp_path, "record,AF\na.hea,0\nb,1\nc.1.csv,1\nd,0\n")
    assert source.files == ("a.hea", "b.npz", "c.1.csv", "d.xml")
    assert list(source.records["name"]) == ["a", "b", "c.1", "d"]


def test_a_file_whose_accents_are_encoded_in_another_way_is_found(tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "Müller.csv")).touch()
    source = labeled(tmp_path, unicodedata.normalize("NFC", "record,AF\nMüller,0\n"))
    assert (source.files, source.problems) == ((unicodedata.normalize("NFD", "Müller.csv"),), ())


@pytest.mark.parametrize("record", ["7", "007.0", "A7.csv", "a7.hea"])
def test_a_file_whose_name_is_spelled_differently_is_named(tmp_path, record):
    for name in ("007.csv", "a7.csv"):
        (tmp_path / name).touch()
    (problem,) = labeled(tmp_path, f"record,AF\n{record},0\nb,1\n").problems
    assert problem.message.endswith(
        f"line 2: no file has this name, but {'a' if 'a' in record.lower() else '00'}7.csv differs from it only in "
        "leading zeros, '.0', capitals or its suffix. Write the names of the files."
    )


def test_a_choice_between_several_files_of_a_record_is_reported(tmp_path):
    for name in ("a.csv", "a.txt"):
        (tmp_path / name).write_text("# fs=100 unit=mV\nI,II\n0,0\n0,1\n")
    notes = labeled(tmp_path, "record,AF\na,0\nb,1\n").notes
    assert any("in 1 of 2 rows: a.csv is read, and a.txt is not, for example." in note for note in notes)
    assert not any("several" in note for note in labeled(tmp_path, "record,AF\na.csv,0\n").notes)


def test_a_name_too_long_for_a_file_is_no_file(tmp_path):
    assert labeled(tmp_path, f"record,AF\n{'a' * 255},0\n").files == (f"{'a' * 255}.hea",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,AF\na,1\n", "no column record; none of the 2 cells of its first line"),
        ("record,patient_id\na,1\n", "no label"),
        ("record,AF\n", "it lists no record"),
        ("", "not readable as CSV"),
        ("record,AF,AF\na,1,0\n", "columns 2 and 3 have the same name"),
        ("record,A;F\na,1\n", "'A;F' cannot name a label"),
        ("record,AF\na,1\nb,perhaps\n", "line 3: AF is neither yes nor no; a label is 1 or 0"),
        ("record,AF\na,\nb,1\n", "line 2: AF is empty, and an unknown label is not 0. Write 0"),
        ("record,AF\na,\n", r"AF \(empty\)(.|\n)*no label; a label is a column of 1 and 0"),
        ("record,AF\na,1\na,0\n", "Lines 2 and 3 have the same record"),
        ("record,AF\n/etc/a,1\n", "Line 2: the record does not name a file inside the folder"),
        ("record,AF\nC:\\ecgs\\a,1\n", "Line 2: the record does not name a file inside the folder. Write its path rel"),
        ("record,AF\n./a,1\na.hea,0\n", "Lines 2 and 3 have the same record"),
        ("record,AF\nb//a,1\nb/a,0\n", "Lines 2 and 3 have the same record"),
        ("record,patient_id,AF\na,007,0\nb,7,1\n", "lines 2 and 3: patient_id spells a patient in two ways"),
        ("record,patient_id,AF\na,007,0\nb,7,1\n", "If they are different patients, .*: a-7 and b-007"),
        ("record,patient_id,AF\na,7.0,0\nb,7,1\nc,8,1\n", "lines 2 and 3: patient_id spells a patient in two ways"),
        ("record,patient_id,AF\na,P7,0\nb,p7,1\n", "lines 2 and 3: patient_id spells a patient in two ways"),
        ('record,"A\nF"\na,1\n', r"'A\\nF' cannot name a label"),
        ("record,A\u202eF\na,1\n", r"'A\\u202eF' cannot name a label"),
        ("record,AF\n,1\n", "Line 2: the record does not name a file inside the folder"),
        ("record,patient_id,AF\na,,1\n", "line 2: patient_id is empty; write which patient"),
        ("record,patient_id,AF\na,Unknown,1\n", "line 2: patient_id is 'unknown'; write which patient"),
        ("record,patient_id,AF\na,,1\nb,-,0\n", "lines 2 and 3: patient_id is empty or '-'; write"),
        ("record,AF\na,n/a\nb,1\n", "line 2: AF is 'n/a', and an unknown label is not 0. Write 0"),
        ("record,split,AF\na,fit,1\n", r"line 2: split is none of train, validation \(val\), test"),
        ("record,fold,AF\na,0,1\n", "line 2: fold is not a whole number; folds are 1 to 10"),
        ("record,fold,AF\na,x,1\n", "line 2: fold is not a whole number; folds are 1 to 10"),
        (
            "record,patient_id,split,AF\na,5,train,1\nb,5,test,1\n",
            "Lines 2 and 3: one patient has records in test and train",
        ),
        ("record,patient,AF\na,0,0\nb,1,1\nc,0,1\n", "a patient's number or a label"),
        ("record,patient,Patient_ID,AF\na,1,1,1\n", "patient and Patient_ID may each be the patient"),
        ("record,test,AF\na,0,1\nb,1,1\n", "test may be a split or a label"),
        ("record,sex,AF\na,2,1\n", "line 2: sex is none of M, F"),
        ("record,age,AF\na,old,1\n", "line 2: age is not a number of years"),
        ("record,AF\na,1,0\n", "line 2: a different number of cells than the 2 columns"),
        ('record,AF\n"a,1\n', "line 2: not readable as CSV"),
    ],
)
def test_a_table_with_impossible_content_is_refused(tmp_path, text, message):
    with pytest.raises(SourceError, match=message):
        labeled(tmp_path, text).require_sound()


@pytest.mark.parametrize("age", ["22645", "1961", "-1", "300", "inf"])
def test_ages_that_no_task_uses_are_counted(tmp_path, age):
    source = labeled(tmp_path, f"record,Age,AF\na,{age},1\nb,63,0\nc,,0\nd,0,0\n")
    source.require_sound()
    assert any("'Age' is not from 0 to 120 years in 1 of 4 rows (line 2)" in note for note in source.notes)
    sound = labeled(tmp_path, "record,Age,AF\na,120,1\nb,63Y,0\nc,,0\nd,0,0\n")
    assert not any("not from 0" in note for note in sound.notes)


def test_all_problems_are_listed_at_once_without_quoting_cells(tmp_path):
    text = "record,Patient_ID,Sex,Age,fold,test,AF,MI,device\n"
    text += "Ann,Bob,Zoe,Eve,Kim,1,Joe,,Max\nAnn,,F,63Y,11,0,1,1,Max\n../Ida,Bob,F,,1,0,0,0,Max\n"
    with pytest.raises(SourceError) as caught:
        labeled(tmp_path, text).require_sound()
    told = str(caught.value).replace(str(tmp_path), "")
    for line in (
        "patient is 'Patient_ID'; fold is 'fold'; age is 'Age'; sex is 'Sex'; labels are AF, MI; left out: device",
        "1 unclear column: test",
        "line 2: AF is neither",
        "line 2: MI is empty",
        "line 3: Patient_ID is empty",
        "lines 2 and 3: fold is not a whole number",
        "line 2: Age is not a number",
        "line 2: Sex is none of",
        "Lines 2 and 3 have the same record",
        "Line 4: the record does not name a file inside",
    ):
        assert line in told
    assert not [name for name in ("Ann", "Bob", "Zoe", "Eve", "Kim", "Joe", "Max", "Ida") if name in told]


def test_a_line_of_data_is_not_quoted_as_column_names(tmp_path):
    for text in ("Ann,7,0\nBob,8,1\n", "Ann,Ann,yes\n", "Ann,0,0\n"):
        with pytest.raises(SourceError) as caught:
            labeled(tmp_path, text)
        assert "Ann" not in str(caught.value).replace(str(tmp_path), "")


HEADER = "record,patient_id,sex,age,split,AF"
PLAIN = f"{HEADER}\na,p0,0,63,train,1\nb,p1,1,,validation,0\nc,p2,1,59.5,test,1\n"


@pytest.mark.parametrize(
    ("header", "changes"),
    [
        ("Record,Patient_ID,SEX,Age,Set,AF", {}),
        ("filename,patient,Gender,age (years),subset,AF", {"63": "63Y", "59.5": "59.5 years"}),
        ("file,subject,sex,age,split,AF", {",0,63": ",M,63", ",1,,": ",F,,", ",1,59": ",female,59"}),
        (HEADER, {"train,1": "Train,TRUE", "validation,0": "val,False", "test,1": "test,true"}),
        (HEADER, {"train,1": "training,Yes", "validation,0": "valid,no", "test,1": "test,yes"}),
        ("Datei,Patientennummer,Geschlecht,Alter (Jahre),Aufteilung,AF", {",0,63": ",m\u00e4nnlich,63"}),
        ("fichier,N\u00ba patient,Sexe,\u00c2ge,set,AF", {",0,63": ",homme,63"}),
        (HEADER, {"train,1": "train,WAHR", "validation,0": "validation,FALSCH", "test,1": "test,VRAI"}),
        (HEADER, {"train,1": 'train,"1,0"', "validation,0": 'validation,"0,00"', "test,1": "test,1.00"}),
        (HEADER, {"63,train": "063,train", "a,p0": " a , p0 ", "c,": "\n,,,,,\nc,"}),
    ],
)  # fmt: skip
def test_columns_and_cells_are_understood_as_people_write_them(tmp_path, header, changes):
    expected = labeled(tmp_path, PLAIN).records
    rows = PLAIN.partition("\n")[2]
    for old, new in changes.items():
        assert old in rows
        rows = rows.replace(old, new)
    found = labeled(tmp_path, f"{header}\n{rows}")
    found.require_sound()
    assert found.label_sets == {"labels": ("AF",)}
    pd.testing.assert_frame_equal(found.records, expected)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "sep=;\n"])
def test_a_table_is_read_as_spreadsheets_write_it(tmp_path, encoding, separator):
    text = "record,age,St\u00f6rung,\na,63,1,\n,,,\nb,59,0,\n".replace(",", separator[-2:].strip() or separator)
    text = text.replace("=;", ";").replace("59", "59,5" if ";" in separator else "59.5")
    (tmp_path / "labels.csv").write_bytes((("sep=;\n" if "sep" in separator else "") + text).encode(encoding))
    source = read_labeled_folder(tmp_path)
    source.require_sound()
    assert source.label_sets == {"labels": ("St\u00f6rung",)}
    assert source.records[["name", "age", "labels"]].to_numpy().tolist() == [
        ["a", 63.0, "St\u00f6rung"],
        ["b", 59.5, ""],
    ]
    assert any("Latin-1" in note for note in source.notes) == (encoding == "latin-1")


def test_other_columns_do_not_become_labels(tmp_path):
    text = "record,male,height,device,site,note,AF\na,0,162,AT-1,0,,1\nb,1,171,AT-2,1,,0\n"
    source = labeled(tmp_path, text)
    source.require_sound()
    assert source.label_sets == {"labels": ("AF",)}
    for name in ("male", "height", "device", "site", "note (empty)"):
        assert name in source.notes[0].partition("left out")[2]


def test_names_of_patients_and_text_used_once_are_not_advised_to_be_more(tmp_path):
    text = "record,patient_name,inpatient,note,AF\na,A,yes or so,,1\nb,B,no or so,hello,0\nc,C,no or so,,1\n"
    notes = " ".join(labeled(tmp_path, text).notes)
    assert "holds the patients" not in notes
    assert "note (one value, or empty)" in notes
    assert "not used, since a label is 1 or 0: 'inpatient', 'note'" in notes


def test_a_thousand_is_neither_yes_nor_no(tmp_path):
    text = 'record,AF,MI\na,"1,00","1,000"\nb,0.0,"2,000"\nc,1,"0,000"\n'
    source = labeled(tmp_path, text)
    assert source.label_sets == {"labels": ("AF",)}
    assert list(source.records["labels"]) == ["AF", "", "AF"]


def test_columns_that_may_be_meant_otherwise_are_named(tmp_path):
    text = "record,id,ward,AF,VT,VF,SB,MI\na,1,A1,1,0.3,x,2,0\nb,1,A2,-1,0.9,,1,1\nc,2,B1,-1,0.2,,2,1\n"
    source = labeled(tmp_path, text)
    assert source.label_sets == {"labels": ("MI",)}
    assert source.notes[2:] == (
        "labels.csv: If 'id' holds the patients, rename that column to patient_id.",
        "labels.csv: not used, since a label is 1 or 0: 'AF', 'VT', 'VF', 'SB'. Write these two numbers in a column "
        "that is a label.",
        "No record fell into the split 'validation'.",
        "No record fell into the split 'test'.",
    )


@pytest.mark.parametrize(
    ("there", "remedy"),
    [
        ("Labels.CSV", "Rename Labels.CSV to labels.csv"),
        ("my labels.xlsx", "Save my labels.xlsx as CSV under the name labels.csv"),
        ("manifest.json", "Write a labels.csv with the columns record"),
        ("cohort/labels.csv", "Did you mean .*cohort"),
        ("a.hea", "Write a labels.csv with the columns record, patient_id, and one of 1 and 0 for each label"),
    ],
)
def test_a_folder_without_a_table_says_what_would_do(tmp_path, there, remedy):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).touch()
    with pytest.raises(SourceError, match=remedy):
        read_source(tmp_path, 100)


def test_a_spreadsheet_under_the_name_of_the_table_is_refused_as_one(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(SourceError, match="a spreadsheet, not a text file; save it as CSV"):
        read_labeled_folder(tmp_path)


def test_a_file_that_two_names_lead_to_is_listed_twice(tmp_path):
    (tmp_path / "a.xml").write_text("<RestingECG/>")
    with pytest.raises(SourceError, match=r"1 listed twice: lines 2 and 4\n +Lines 2 and 4 have the same file"):
        labeled(tmp_path, "record,AF\na,0\nb,1\na.xml,1\n").require_sound()


def test_paths_as_windows_writes_them_are_found(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.npz").touch()
    (tmp_path / "c\\d.npz").touch()
    source = labeled(tmp_path, "record,AF\nb\\a,0\n.\\b\\e.csv,1\nc\\d,1\n")
    assert source.files == ("b/a.npz", "b/e.csv", "c\\d.npz")


def test_a_patient_in_two_training_folds_is_reported(tmp_path):
    source = labeled(tmp_path, "record,patient_id,fold,AF\na,1,1,0\nb,1,2,1\nc,2,3,1\nd,2,3,0\n")
    source.require_sound()
    assert [(found.kind, found.name) for found in source.remarks] == [("patient in two folds", "lines 2 and 3")]
    both = labeled(tmp_path, "record,patient_id,fold,AF\na,1,1,0\nb,1,9,1\n")
    assert ([found.kind for found in both.problems], both.remarks) == (["patient in two splits"], ())
