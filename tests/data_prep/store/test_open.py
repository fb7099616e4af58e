import dataclasses
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import MultiLabelBinarizer
from typer.testing import CliRunner

from data_prep.preprocess import Preprocess
from data_prep.store.manifest import StoreError, write_manifest
from data_prep.store.open import check_store, open_store
from data_prep.store.prepare import prepare
from ecgmtl.cli.data import data_app
from tests.folders import edit, write_ptbxl

CODES = [{"NORM": 100.0, "SR": 0.0}, {"IMI": 50.0, "ILMI": 0.0, "NDT": 0.0}, {}, {"ABQRS": 0.0}]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_ptbxl(tmp_path_factory.mktemp("source") / "ptbxl", CODES, np.random.default_rng(0))


@pytest.fixture(scope="module")
def prepared(source):
    prepare(source, source.parent / "store", Preprocess(band=(0.5, 40.0)))
    return source.parent / "store"


@pytest.fixture
def path(prepared, tmp_path):
    """A copy, for a test to damage."""
    return Path(shutil.copytree(prepared, tmp_path / "store"))


def test_labels_are_those_of_scikit_learn(path):
    store = open_store(path)
    names = store.label_names("all")
    expected = MultiLabelBinarizer(classes=names).fit_transform([list(codes) for codes in CODES])
    assert np.array_equal(store.labels("all"), expected)


def test_a_record_without_a_label_of_the_set_is_a_row_of_zeros(path):
    store = open_store(path)
    assert store.label_names("superdiagnostic") == ("MI", "NORM", "STTC")
    assert store.labels("superdiagnostic").tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_a_label_set_without_any_record_is_all_zero(path):
    store = open_store(path)
    bare = dataclasses.replace(store, records=store.records.assign(form=""))
    assert bare.labels("form").tolist() == [[0, 0]] * 4


def test_records_keep_the_types_of_their_columns(path):
    records = open_store(path).records
    assert list(records["patient_id"]) == [1, 2, 3, 4]
    assert records["patient_id"].dtype == np.int64
    assert list(records["age"]) == [300.0] * 4
    assert list(records["form"]) == ["", "NDT", "", "ABQRS"]


def test_the_settings_come_back_as_they_were(path):
    assert open_store(path).preprocess == Preprocess(band=(0.5, 40.0))


def test_signals_are_not_read_before_they_are_used(path):
    store = open_store(path)
    assert isinstance(store.signals, np.memmap)
    assert not store.signals.flags.writeable


def test_the_same_data_have_the_same_sha256_anywhere(path, source, tmp_path):
    prepare(source, tmp_path / "other", Preprocess(band=(0.5, 40.0)))
    prepare(source, tmp_path / "third", Preprocess())
    assert open_store(path).sha256 == open_store(tmp_path / "other").sha256
    assert open_store(path).sha256 != open_store(tmp_path / "third").sha256


def test_the_error_for_an_unknown_label_set_lists_the_known_ones(path):
    with pytest.raises(StoreError, match="no label set 'sex'; choose one of all, diagnostic, subdiagnostic, superdia"):
        open_store(path).labels("sex")


def test_a_folder_without_a_manifest_is_not_a_store(tmp_path):
    with pytest.raises(StoreError, match=r"is not a prepared folder: it has no manifest.json; `ecgmtl data prepare"):
        open_store(tmp_path)


def test_a_newer_store_is_refused(path):
    edit(path / "manifest.json", '"format": 2', '"format": 3')
    with pytest.raises(StoreError, match=r"newer ecgmtl \(store 3, this one reads 2\); update ecgmtl"):
        open_store(path)


def test_an_older_store_which_does_not_say_what_lost_its_voltage_is_refused(path):
    edit(path / "manifest.json", '"format": 2', '"format": 1')
    with pytest.raises(StoreError, match=r"older ecgmtl \(store 1, this one reads 2\); prepare the records again"):
        open_store(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "new"}', '{"format": 2}'])
def test_a_broken_manifest_is_refused(path, text):
    (path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match="prepare the folder again"):
        open_store(path)


@pytest.mark.parametrize("n_bytes", [0, 5, 100, 50_000])
def test_cut_signals_are_refused(path, n_bytes):
    content = (path / "signals.npy").read_bytes()
    (path / "signals.npy").write_bytes(content[:n_bytes])
    with pytest.raises(StoreError, match=r"signals.npy: not readable"):
        open_store(path)


@pytest.mark.parametrize("other", [np.zeros((4, 12, 999), np.int16), np.zeros((4, 12, 1000), np.float32)])
def test_other_signals_are_refused(path, other):
    np.save(path / "signals.npy", other)
    with pytest.raises(StoreError, match=r"where .* of int16 were written"):
        open_store(path)


def test_signals_with_trailing_bytes_are_refused(path):
    with (path / "signals.npy").open("ab") as file:
        file.write(b"more")
    with pytest.raises(StoreError, match="4 bytes too long"):
        open_store(path)


def test_a_pickle_is_not_run(path):
    (path / "signals.npy").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(StoreError, match="not readable"):
        open_store(path)


@pytest.mark.parametrize("bit", [5000, 50_000, 95_000])
def test_one_flipped_bit_is_detected(path, bit):
    content = bytearray((path / "signals.npy").read_bytes())
    content[bit] ^= 1
    (path / "signals.npy").write_bytes(content)
    with pytest.raises(StoreError, match=r"signals.npy: it has changed since it was written"):
        open_store(path)


@pytest.mark.parametrize("byte", range(8, 128, 3))
def test_a_damaged_header_is_refused(path, byte):
    content = bytearray((path / "signals.npy").read_bytes())
    for damaged in (0, ord("("), ord("}"), 255):
        content[byte] = damaged
        (path / "signals.npy").write_bytes(content)
        with pytest.raises(StoreError, match=r"signals.npy: .*; prepare the folder again"):
            open_store(path)


def changed(path, **entries):
    """The manifest with other entries, signed as `data prepare` does it."""
    manifest = json.loads((path / "manifest.json").read_text())
    write_manifest(path, manifest | entries)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"signals": 3}, "signals should be an object with a shape of three whole numbers; found a int"),
        ({"signals": {"shape": [4, 12, 1e3]}}, "signals should be"),
        ({"signals": {"shape": [10**30, 12, 1000]}}, "where .* of int16 were written"),
        ({"columns": {"ecg_id": []}}, "columns should be an object that gives each column's kind"),
        ({"columns": {"ecg_id": "int"}}, "columns has no patient_id of its kind"),
        ({"n_records": True}, "n_records should be a whole number"),
        ({"n_records": 5}, "4 rows, where 5 were written"),
        ({"label_sets": {"form": 1}}, "label_sets should be an object of lists"),
        ({"labels": "fusion"}, "labels is not one of its label_sets"),
        ({"preprocess": []}, "preprocess should be an object"),
        ({"preprocess": {"fs": 5}}, "preprocess.fs: 5 must be"),
        ({"preprocess": {"fs": 500}}, "holds .*, where 4 records of 12 leads and 5000 samples were written"),
        ({"source": {"name": "x"}}, "source should be an object with a name"),
        ({"sha256": {"signals.npy": "x"}}, "sha256 should be an object with the checksums"),
        ({"format": 10**400}, r"newer ecgmtl"),
        ({"format": float("inf")}, r"not readable"),
    ],
)
def test_a_manifest_with_a_value_of_another_kind_is_refused(path, entries, said):
    changed(path, **entries)
    with pytest.raises(StoreError, match=said):
        open_store(path)


def test_a_changed_manifest_is_refused_and_one_without_a_checksum_is_read(path):
    edit(path / "manifest.json", '"NDT"', '"NDU"')
    with pytest.raises(StoreError, match=r"manifest.json: it has changed since it was written"):
        open_store(path)
    edit(path / "manifest.json", '"NDU"', '"NDT"')
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["checksum"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert open_store(path).default_labels == "superdiagnostic"


def test_a_changed_table_is_refused(path):
    edit(path / "records.csv", "train", "test")
    with pytest.raises(StoreError, match=r"records.csv: it has changed since it was written"):
        open_store(path)


def test_a_missing_table_is_refused(path):
    (path / "records.csv").unlink()
    with pytest.raises(StoreError, match=r"records.csv: not readable \(No such file"):
        open_store(path)


def test_settings_of_another_version_are_refused(path):
    changed(path, preprocess={"notch": 50})
    with pytest.raises(StoreError, match=r"preprocess: .*notch"):
        open_store(path)


def test_a_label_that_the_set_lacks_is_refused(path):
    store = open_store(path)
    odd = dataclasses.replace(store, records=store.records.assign(form="XYZ"))
    with pytest.raises(StoreError, match="row 1 has a label that 'form' lacks"):
        odd.labels("form")


def test_a_check_hashes_every_file_of_a_store_again(path):
    assert check_store(path) == f"{path}: a prepared folder of 4 records; nothing has changed since it was written."
    edit(path / "records.csv", "train", "test")
    with pytest.raises(StoreError, match=r"records.csv: it has changed since it was written"):
        check_store(path)


def test_the_command_checks_a_prepared_folder(path):
    sound = CliRunner().invoke(data_app, ["check", str(path)])
    assert (sound.exit_code, "4 records; nothing has changed since it was written" in sound.output) == (0, True)
    edit(path / "manifest.json", '"records.csv"', '"records.txt"')
    damaged = CliRunner().invoke(data_app, ["check", str(path)])
    assert (damaged.exit_code, "manifest.json: sha256 should be" in damaged.output) == (1, True)
