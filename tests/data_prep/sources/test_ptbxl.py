import pandas as pd
import pytest

from data_prep.sources.ptbxl import read_ptbxl
from data_prep.sources.tables import SourceError
from tests.folders import edit, write_ptbxl

SIZES = {"all": 71, "diagnostic": 44, "subdiagnostic": 23, "superdiagnostic": 5, "form": 19, "rhythm": 12}


@pytest.fixture
def folder(tmp_path, rng):
    codes = [{"NORM": 100.0, "SR": 0.0}, {"IMI": 0.0, "ILMI": 50.0}, {"ABQRS": 0.0}]
    return write_ptbxl(tmp_path / "ptbxl", codes, rng, folds=[1, 9, 10])


def test_statements_are_aggregated_by_the_table(folder):
    records = read_ptbxl(folder, 100).records
    assert list(records["all"]) == ["NORM;SR", "ILMI;IMI", "ABQRS"]
    assert list(records["diagnostic"]) == ["NORM", "ILMI;IMI", ""]
    assert list(records["subdiagnostic"]) == ["NORM", "IMI", ""]
    assert list(records["superdiagnostic"]) == ["NORM", "MI", ""]
    assert list(records["form"]) == ["", "", "ABQRS"]
    assert list(records["rhythm"]) == ["SR", "", ""]


def test_labels_are_all_that_the_statements_know_in_alphabetical_order(folder):
    label_sets = read_ptbxl(folder, 100).label_sets
    assert label_sets["superdiagnostic"] == ("MI", "NORM", "STTC")
    assert label_sets["form"] == ("ABQRS", "NDT")
    assert label_sets["all"] == ("ABQRS", "ILMI", "IMI", "NDT", "NORM", "SR")


def test_folds_become_splits(folder):
    assert list(read_ptbxl(folder, 100).records["split"]) == ["train", "validation", "test"]


@pytest.mark.real
def test_the_sample_has_the_published_label_sets(shared_data):
    source = read_ptbxl(shared_data / "ptbxl-sample", 100)
    assert {name: len(labels) for name, labels in source.label_sets.items()} == SIZES
    assert source.problems == ()
    assert (source.records["superdiagnostic"] == "").sum() == 47
    assert source.records["split"].value_counts().to_dict() == {"train": 2010, "validation": 267}


@pytest.mark.real
def test_the_sample_agrees_with_the_benchmarks_own_aggregation(shared_data):
    """As `aggregate_diagnostic` of PTB-XL's example script: pandas lookups instead of dictionaries."""
    folder = shared_data / "ptbxl-sample"
    statements = pd.read_csv(folder / "scp_statements.csv", index_col=0)
    diagnostic = statements[statements.diagnostic == 1]
    database = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id")
    found = read_ptbxl(folder, 100).records["superdiagnostic"].str.split(";")
    for text, labels in zip(database.scp_codes, found, strict=True):
        codes = [code for code in statements.index if f"'{code}':" in text]
        expected = {diagnostic.diagnostic_class[code] for code in codes if code in diagnostic.index}
        assert expected == set(labels) - {""}


@pytest.mark.parametrize(
    ("rates", "fs", "chosen", "notes"),
    [
        ((100, 500), 100, "records100", 0),
        ((100, 500), 500, "records500", 0),
        ((100, 500), 250, "records500", 1),
        ((100, 500), 50, "records500", 1),
        ((500,), 100, "records500", 1),
        ((100,), 50, "records100", 1),
    ],
)
def test_records_of_the_requested_or_a_higher_rate_are_read(tmp_path, rng, rates, fs, chosen, notes):
    source = read_ptbxl(write_ptbxl(tmp_path, [{"SR": 0.0}], rng, rates=rates), fs)
    assert source.files[0].startswith(chosen)
    assert len(source.notes) == notes


def test_nothing_is_upsampled(folder):
    with pytest.raises(SourceError, match=r"only the 100 Hz records are there.*ask for 100 Hz or less"):
        read_ptbxl(folder, 500)


def test_a_folder_of_tables_alone_is_refused(tmp_path, rng):
    with pytest.raises(SourceError, match="neither records100 nor records500"):
        read_ptbxl(write_ptbxl(tmp_path, [{"SR": 0.0}], rng, rates=()), 100)


def test_a_code_without_statement_is_named_with_its_record(folder):
    edit(folder / "ptbxl_database.csv", "'ABQRS'", "'XYZ'")
    with pytest.raises(SourceError, match=r"line 4: scp_statements\.csv lacks statement number 1"):
        read_ptbxl(folder, 100).require_sound()


@pytest.mark.parametrize("text", ["{'ABQRS': 0.0", "['ABQRS']", "__import__('os').getcwd()", ""])
def test_the_error_names_the_line_of_a_cell_that_is_not_a_dictionary(folder, text):
    edit(folder / "ptbxl_database.csv", "{'ABQRS': 0.0}", text)
    with pytest.raises(SourceError, match="line 4: scp_codes is"):
        read_ptbxl(folder, 100).require_sound()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("strat_fold", "fold", "no column strat_fold; none of the 8 cells"),
        ("3,3.0,", "2,3.0,", "Lines 3 and 4 have the same ecg_id"),
        ("3,3.0,", "3,2.0,", "Lines 3 and 4: one patient has records in test and validation"),
        ("3,3.0,", "3,,", "line 4: patient_id is missing or not a whole number"),
        ("3,3.0,", "3,Ann,", "line 4: patient_id is not a number"),
        (",10,records100", ",11,records100", "line 4: strat_fold is unknown; folds are 1 to 10"),
        ("records100/00000/00003_lr", "../00003_lr", "does not name a file inside the folder"),
        ("records100/00000/00003_lr", "records100/00000/00001_lr", "Lines 2 and 4 have the same record"),
        ("sex", "age", "columns 3 and 4 have the same name"),
    ],
)
def test_contradictions_in_the_table_are_refused(folder, old, new, message):
    edit(folder / "ptbxl_database.csv", old, new)
    with pytest.raises(SourceError, match=message):
        read_ptbxl(folder, 100).require_sound()


def test_all_unreadable_columns_are_listed_at_once(folder):
    edit(folder / "ptbxl_database.csv", "3,3.0,300.0,", "3,Ann,Bob,")
    edit(folder / "ptbxl_database.csv", ",9,records100", ",,records100")
    with pytest.raises(SourceError) as caught:
        read_ptbxl(folder, 100)
    for line in ("line 4: patient_id is not a number", "line 4: age is no", "line 3: strat_fold is missing"):
        assert line in str(caught.value)


def test_a_patient_in_two_training_folds_is_reported(tmp_path, rng):
    source = read_ptbxl(write_ptbxl(tmp_path, [{"SR": 0.0}] * 3, rng, patients=[7, 7, 8], folds=[1, 2, 2]), 100)
    source.require_sound()
    assert [(found.kind, found.name) for found in source.remarks] == [("patient in two folds", "lines 2 and 3")]


def test_the_error_names_a_missing_table_of_statements(folder):
    (folder / "scp_statements.csv").unlink()
    with pytest.raises(SourceError, match=r"no scp_statements\.csv"):
        read_ptbxl(folder, 100)
