from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from data_prep.preprocess import Preprocess
from data_prep.store.manifest import StoreError
from data_prep.store.open import Store
from data_prep.store.prepare import prepare
from ecgmtl.data.split import lead_statistics, load_split, open_for, require_both_classes
from tests.folders import write_ptbxl

SUPERCLASSES = ["NORM", "MI"]


@pytest.fixture
def store(rng, tmp_path):
    """Five records of 50 samples: three for training, two for validation, of three patients."""
    records = pd.DataFrame(
        {
            "name": list("abcde"),
            "patient_id": [7.0, 7.0, 30.0, 9.0, 9.0],
            "split": ["train", "validation", "train", "train", "validation"],
            "superdiagnostic": ["NORM", "MI", "", "MI;NORM", "NORM"],
            "rhythm": ["SR", "", "SR", "AFIB", ""],
        }
    )
    signals = rng.integers(-3000, 3000, (5, 12, 50)).astype(np.int16)
    label_sets = {"superdiagnostic": SUPERCLASSES, "rhythm": ["AFIB", "SR"]}
    manifest = {"label_sets": label_sets, "labels": "superdiagnostic", "preprocess": {"fs": 100}}
    return Store(tmp_path, signals, records, manifest)


def test_a_split_holds_only_its_own_records(store):
    split = load_split(store, "train", "superdiagnostic", ("rhythm",))
    assert split.names == ("a", "c", "d")
    assert np.array_equal(split.signals.numpy(), store.signals[[0, 2, 3]])
    assert split.labels.tolist() == [[1, 0], [0, 0], [1, 1]]
    assert split.auxiliary_labels["rhythm"].tolist() == [[0, 1], [0, 1], [1, 0]]
    assert (split.label_names, split.auxiliary_label_names) == (("NORM", "MI"), {"rhythm": ("AFIB", "SR")})
    assert split.patients.tolist() == [0, 2, 1]
    assert (len(split), split.n_samples, split.fs) == (3, 50, 100.0)


def test_reconstruction_is_grouped_by_superclass_where_there_is_one(store):
    split = load_split(store, "train", "rhythm")
    assert (split.label_names, split.group_names) == (("AFIB", "SR"), ("NORM", "MI"))
    del store.manifest["label_sets"]["superdiagnostic"]
    assert load_split(store, "train", "rhythm").group_names == ("AFIB", "SR")


def test_a_batch_is_in_mv(store):
    split = load_split(store, "train", "superdiagnostic")
    batch = split.batch(torch.tensor([2, 0]))
    np.testing.assert_array_equal(batch.signals.numpy(), store.signals[[3, 0]].astype(np.float32) / 1000)
    np.testing.assert_array_equal(batch.signals.numpy(), store.read_millivolts(np.array([3, 0])))
    assert batch.labels.tolist() == [[1, 1], [1, 0]]
    assert batch.auxiliary_labels == {}


def test_each_record_of_a_batch_has_its_own_positions(store):
    split = load_split(store, "train", "superdiagnostic")
    places = torch.tensor([[48, 49, 0], [10, 11, 12]])
    batch = split.batch(torch.tensor([0, 1]), places)
    expected = np.stack([store.signals[0][:, [48, 49, 0]], store.signals[2][:, 10:13]]).astype(np.float32) / 1000
    np.testing.assert_array_equal(batch.signals.numpy(), expected)


def test_in_order_yields_every_record_once(store):
    split = load_split(store, "train", "superdiagnostic")
    batches = list(split.in_order(2))
    assert [len(batch.labels) for batch in batches] == [2, 1]
    assert torch.equal(torch.cat([batch.signals for batch in batches]), split.signals.float() / 1000)


def test_select_keeps_every_field_of_the_selected_records(store):
    split = load_split(store, "train", "superdiagnostic", ("rhythm",)).select(np.array([True, False, True]))
    assert split.names == ("a", "d")
    assert np.array_equal(split.signals.numpy(), store.signals[[0, 3]])
    assert split.labels.tolist() == split.groups.tolist() == [[1, 0], [1, 1]]
    assert split.auxiliary_labels["rhythm"].tolist() == [[0, 1], [1, 0]]
    assert split.patients.tolist() == [0, 1]


def test_an_empty_split_is_rejected(store):
    with pytest.raises(StoreError, match=r"no record of the split 'test'; it has train 3, validation 2\."):
        load_split(store, "test", "superdiagnostic")
    store.records["split"], store.records["fold"] = "train", [1.0, 1.0, 2.0, 2.0, float("nan")]
    with pytest.raises(
        StoreError, match=r"train 5\. To have some, set validation_fold to one of its folds, 1, 2, or prep"
    ):
        load_split(store, "validation", "superdiagnostic")


def test_lead_statistics_match_numpy(store):
    split = load_split(store, "train", "superdiagnostic")
    mean, std = lead_statistics(split, chunk=2)
    values = store.signals[[0, 2, 3]].astype(np.float64) / 1000
    np.testing.assert_allclose(mean[:, 0], values.mean(axis=(0, 2)), rtol=1e-6)
    np.testing.assert_allclose(std[:, 0], values.std(axis=(0, 2)), rtol=1e-6)


def test_a_flat_lead_has_a_scale_of_a_microvolt(store):
    store.signals[:, 4] = 700
    mean, std = lead_statistics(load_split(store, "train", "superdiagnostic"))
    assert mean[4].item() == pytest.approx(0.7)
    assert std[4].item() == pytest.approx(0.001)


def test_an_unfiltered_store_serves_a_config_that_filters(tmp_path, rng):
    write_ptbxl(tmp_path / "records", [{"NORM": 100.0}] * 3, rng)
    band = Preprocess(band=(0.5, 40.0))
    prepare(tmp_path / "records", tmp_path / "filtered", band)
    prepare(tmp_path / "records", tmp_path / "plain", Preprocess())
    rows = np.array([2, 0])
    found, expected, plain = (
        open_for(tmp_path / name, settings).read(rows).astype(int)
        for settings, name in ((band, "plain"), (band, "filtered"), (Preprocess(), "plain"))
    )
    np.testing.assert_allclose(found, expected, atol=1)  # rounded to microvolts before and after filtering
    assert np.abs(found - plain).max() > 10


def test_a_store_prepared_with_other_settings_is_rejected(tmp_path, rng):
    write_ptbxl(tmp_path / "records", [{"NORM": 100.0}], rng)
    band = Preprocess(band=(0.5, 40.0))
    prepare(tmp_path / "records", tmp_path / "store", band)
    assert len(open_for(tmp_path / "store", band).records) == 1
    with pytest.raises(StoreError, match=r"store was prepared with band \[0.5, 40.0\], but this config asks for None"):
        open_for(tmp_path / "store", Preprocess())
    with pytest.raises(StoreError):
        open_for(tmp_path / "records", Preprocess())


def test_patients_are_sampled_with_all_of_their_records(store):
    split = load_split(store, "train", "superdiagnostic")
    sampled = split.sample_patients(0.4, (0, 1))
    assert len(set(split.patients[sampled])) == 1
    assert sampled.tolist() == np.isin(split.patients, split.patients[sampled]).tolist()
    assert sampled.tolist() == split.sample_patients(0.4, (0, 1)).tolist()
    assert split.sample_patients(1.0, (0, 1)).all()
    among = np.arange(len(split)) < 3
    assert split.sample_patients(0.01, (0, 1), among)[:3].any()
    assert not split.sample_patients(1.0, (0, 1), among)[3:].any()


def test_another_fold_can_be_the_validation_fold(tmp_path, rng):
    write_ptbxl(tmp_path / "records", [{"NORM": 100.0}] * 10, rng)
    prepare(tmp_path / "records", tmp_path / "store", Preprocess())
    found = open_for(tmp_path / "store", Preprocess(), 3).records
    assert found.loc[found["fold"] == 3, "split"].tolist() == ["validation"]
    assert found.loc[found["fold"] == 10, "split"].tolist() == ["test"]
    assert (found.loc[~found["fold"].isin([3, 10]), "split"] == "train").all()
    with pytest.raises(
        StoreError, match=r"validation_fold 10: .* has no such fold .* it has 1, 2, 3, 4, 5, 6, 7, 8, 9"
    ):
        open_for(tmp_path / "store", Preprocess(), 10)


def test_a_fold_that_shares_patients_with_others_is_rejected(tmp_path, rng):
    patients, folds = [1, 1, 2, 2, 3, 4], [1, 2, 2, 3, 4, 10]
    write_ptbxl(tmp_path / "records", [{"NORM": 100.0}] * 6, rng, patients=patients, folds=folds)
    prepare(tmp_path / "records", tmp_path / "store", Preprocess())
    for fold, count in ((1, "1 of 1 patients"), (2, "2 of 2 patients")):
        with pytest.raises(StoreError, match=rf"validation_fold {fold}: {count} .* have records in other folds too"):
            open_for(tmp_path / "store", Preprocess(), fold)
    assert open_for(tmp_path / "store", Preprocess(), 4).records["split"].tolist().count("validation") == 1


@pytest.mark.parametrize(
    ("labels", "labeled", "sound"),
    [
        ([[1, 0], [1, 1], [1, 0]], [True, True, True], True),
        ([[1, 0], [1, 0], [1, 0]], [True, True, True], False),
        ([[1, 0], [1, 1], [1, 0]], [True, False, True], False),
    ],
)
def test_some_label_needs_both_classes_among_labeled_records(store, labels, labeled, sound):
    split = load_split(store, "train", "superdiagnostic")
    split = replace(split, labels=torch.tensor(labels, dtype=torch.float32), labeled=np.array(labeled))
    expected = (
        nullcontext()
        if sound
        else pytest.raises(StoreError, match=r"split 'train' \(. records; with the label: NORM ., MI 0\)")
    )
    with expected:
        require_both_classes(split, "train")
