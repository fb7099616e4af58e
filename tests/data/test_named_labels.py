"""Messages that name a label, or the row of a label."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from data_prep.store.manifest import StoreError
from data_prep.store.open import Store
from ecgmtl.data.split import require_both_classes
from tests.trainings import split


def test_the_row_of_the_first_unknown_label_is_named(tmp_path):
    records = pd.DataFrame({"rhythm": ["SR", "", "AFIB;FLUT", "PACE"]})
    manifest = {"label_sets": {"rhythm": ["AFIB", "SR"]}, "labels": "rhythm", "preprocess": {"fs": 100}}
    store = Store(tmp_path, np.zeros((4, 12, 5), np.int16), records, manifest)
    with pytest.raises(StoreError, match="row 3 has a label that 'rhythm' lacks"):
        store.labels("rhythm")


def test_each_label_is_named_with_its_own_count_among_the_labeled_records():
    records = split(4)
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    alike = replace(records, labels=labels, labeled=np.array([True, True, True, False]))
    with pytest.raises(StoreError, match=r"in the split 'train' \(3 records; with the label: tall 3, fast 0\)"):
        require_both_classes(alike, "train")
    require_both_classes(replace(alike, labeled=np.ones(4, dtype=bool)), "train")


def test_one_label_with_both_classes_is_enough():
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    require_both_classes(replace(split(2), labels=labels), "validation")
