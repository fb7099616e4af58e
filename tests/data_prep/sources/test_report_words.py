import re
import unicodedata
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from data_prep.files import file_sha256
from data_prep.preprocess import Preprocess
from data_prep.sources.ptbxl import read_ptbxl
from data_prep.sources.report_words import LEAST_PATIENTS, common_words, words_of
from data_prep.store.manifest import read_manifest, write_manifest
from data_prep.store.open import open_store
from data_prep.store.prepare import prepare
from tests.folders import write_ptbxl

ANNOTATED = {
    "report": "Überdrehter Linkstyp. Dr. Mustermann, ST-Hebung in V2",
    "infarction_stadium1": "Stadium II-III",
    "infarction_stadium2": "",
}


def annotate(folder, rows):
    """Add columns to the table of records."""
    path = folder / "ptbxl_database.csv"
    pd.read_csv(path).assign(**{name: [row[name] for row in rows] for name in rows[0]}).to_csv(path, index=False)


def test_words_are_spelled_in_one_way():
    assert words_of("Überdrehter linkstyp, VERAENDERUNGEN; Veränderungen") == [
        "linkstyp",
        "ueberdrehter",
        "veraenderungen",
    ]
    assert words_of("ST-Hebung V1-V3 i-avl 12 ms") == ["avl", "hebung"]
    assert words_of(unicodedata.normalize("NFD", "präexzitation")) == ["praeexzitation"]
    assert words_of("") == []


def test_a_word_is_kept_where_twenty_patients_have_it():
    n = LEAST_PATIENTS
    reports = pd.Series(["common rare"] * (n - 1) + ["common again again", "rare", "rare"])
    patients = pd.Series([*range(n), 0, 1])  # the last two records are of patients who have the rare word already
    cells = common_words(reports, patients)
    assert list(cells) == ["common"] * n + ["", ""]
    assert set(common_words(reports, pd.Series(range(n + 2)))) == {"common;rare", "common", "rare"}


def test_no_other_text_of_a_report_reaches_the_prepared_folder(tmp_path, rng):
    n = LEAST_PATIENTS
    folder = write_ptbxl(tmp_path / "ptbxl", [{"NORM": 100.0}] * n, rng, folds=[1] * (n - 2) + [9, 10])
    rows = [dict(ANNOTATED) for _ in range(n)]
    rows[0]["report"] += " Erika Musterfrau"
    rows[1]["infarction_stadium1"] = "Erika Musterfrau"
    rows[2]["infarction_stadium2"] = "Stadium I"
    annotate(folder, rows)
    prepare(folder, tmp_path / "store", Preprocess())
    records = open_store(tmp_path / "store").records
    assert set(records["report_words"]) == {"hebung;linkstyp;mustermann;ueberdrehter"}  # twenty patients have all four
    assert list(records["infarction_stadium1"][:3]) == ["Stadium II-III", "", "Stadium II-III"]
    assert list(records["infarction_stadium2"][:3]) == ["", "", "Stadium I"]
    for path in (tmp_path / "store").iterdir():
        assert b"musterfrau" not in path.read_bytes().lower(), path.name


def test_a_table_without_these_columns_is_read_as_before(tmp_path, rng):
    records = read_ptbxl(write_ptbxl(tmp_path / "ptbxl", [{"NORM": 100.0}], rng), 100).records
    assert {"report_words", "infarction_stadium1", "infarction_stadium2"}.isdisjoint(records)


def test_a_folder_that_was_prepared_without_a_column_is_said_to_lack_it(tmp_path, rng):
    folder = write_ptbxl(tmp_path / "ptbxl", [{"NORM": 100.0}], rng)
    annotate(folder, [ANNOTATED])
    out = tmp_path / "store"
    before = prepare(folder, out, Preprocess())
    assert not any("lacks" in note for note in before.notes)
    forget_column(out, "report_words")
    again = prepare(folder, out, Preprocess())
    assert again.n_resumed == again.n_records
    assert again.notes[-1] == f"{out} lacks the column report_words; delete it and prepare again to have it."


def forget_column(store, name):
    """Rewrite a store as an earlier version did, which had no such column."""
    table = pd.read_csv(store / "records.csv", dtype=str, keep_default_na=False).drop(columns=name)
    table.to_csv(store / "records.csv", index=False)
    manifest = {key: value for key, value in read_manifest(store).items() if key != "checksum"}
    manifest["columns"].pop(name)
    manifest["sha256"]["records.csv"] = file_sha256(store / "records.csv")
    write_manifest(store, manifest)


@pytest.mark.real
def test_the_samples_words_are_those_that_a_count_by_hand_finds(shared_data):
    folder = shared_data / "ptbxl-sample"
    table = pd.read_csv(folder / "ptbxl_database.csv", keep_default_na=False, dtype=str)
    patients = defaultdict(set)
    for report, patient in zip(table["report"], table["patient_id"], strict=True):
        spelled = report.lower().replace("ä", "ae").replace("ö", "oe").replace("ü", "ue").replace("ß", "ss")
        for word in re.split(r"[\W\d_]+", spelled):
            patients[word].add(patient)
    expected = {word for word, own in patients.items() if len(own) >= 20 and len(word) >= 3}
    records = read_ptbxl(folder, 100).records
    assert set(records["report_words"].str.split(";").explode()) - {""} == expected
    np.testing.assert_array_equal(records["infarction_stadium1"], table["infarction_stadium1"])
