"""Exports in fewer bits: as accurate as float32, or not kept."""

from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from data_prep.errors import UserError
from data_prep.store.open import Store
from ecgmtl.export import reduced
from ecgmtl.export.format import ExportError
from ecgmtl.export.fp16 import halve
from ecgmtl.export.reduced import REDUCTIONS, EvaluationRecords, export_reduced, reduce_and_evaluate
from ecgmtl.inference.onnx_predictor import OnnxPredictor


@pytest.fixture
def evaluated(stored, signals, rng):
    """Records whose labels the model ranks well, because they are its own answers, with one in six changed."""
    records = np.concatenate([signals.numpy() * scale for scale in (0.6, 0.8, 1.0, 1.3, 1.7)]).astype(np.float32)
    logits = stored.model.classify(type(signals)(records)).detach().numpy()
    labels = (logits > np.median(logits, axis=0)) ^ (rng.random(logits.shape) < 1 / 6)
    return EvaluationRecords(records, labels.astype(np.uint8))


def test_the_export_has_8_bit_weights_keeps_its_metadata_and_ranks_alike(
    stored, evaluated, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr(reduced, "LARGEST_DROP", 0.05)  # an untrained model ranks by differences near the rounding
    report = export_reduced(
        stored, REDUCTIONS["int8"], tmp_path / "c.onnx", evaluated.signals, evaluated, "macro AUROC 0.9", "# card"
    )
    assert capfd.readouterr() == ("", "")
    assert report.macro_auroc_float32 - report.macro_auroc <= 0.05
    assert report.n_records == len(evaluated.labels)
    kinds = {initializer.data_type for initializer in onnx.load(tmp_path / "c.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    predictor = OnnxPredictor(tmp_path / "c.onnx")
    assert (predictor.metadata.score, predictor.metadata.card) == ("macro AUROC 0.9", "# card")
    assert predictor.metadata.label_names == stored.label_names


def test_a_less_accurate_export_is_not_kept(stored, evaluated, tmp_path, monkeypatch):
    same = REDUCTIONS["int8"]._replace(write=lambda whole, small, signals: small.write_bytes(whole.read_bytes()))
    values = iter((0.93, 0.927))
    monkeypatch.setattr(reduced, "macro_auroc", lambda scores, labels: next(values))
    (tmp_path / "c.onnx").write_text("the previous one")
    with pytest.raises(ExportError, match=r"falls from 0\.9300 to 0\.9270, by more than 0\.002; it was not kept"):
        export_reduced(stored, same, tmp_path / "c.onnx", evaluated.signals, evaluated)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the previous one"]


def test_weights_in_16_bits_shrink_the_file_and_change_logits_by_their_rounding(exported, signals, tmp_path):
    whole = exported["onnx"].path
    halve(whole, tmp_path / "small.onnx")
    before, after = OnnxPredictor(whole), OnnxPredictor(tmp_path / "small.onnx")
    assert after.metadata == before.metadata
    difference = np.abs(before.logits(signals.numpy()) - after.logits(signals.numpy())).max()
    assert 0 < difference < 0.01
    kinds = {i.data_type for i in onnx.load(tmp_path / "small.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert (tmp_path / "small.onnx").stat().st_size < whole.stat().st_size
    (tmp_path / "empty.onnx").write_bytes(without_weights(whole))
    with pytest.raises(ExportError, match="no weights that could be rounded"):
        halve(tmp_path / "empty.onnx", tmp_path / "x.onnx")


def without_weights(path):
    """The bytes of a graph without nodes."""
    model = onnx.load(path)
    del model.graph.node[:]
    return model.SerializeToString()


def test_labels_in_another_order_or_of_one_class_do_not_evaluate_an_export(stored, tmp_path):
    first, *others = stored.label_names
    records = pd.DataFrame({"split": ["train"] * 4 + ["validation"] * 4, stored.label_set: [first] * 8})
    for names, message in (
        ((*others, first), "store: the model reads .* the same in another order: put the columns"),
        (("X", *others), "store: the model reads .*; the data has X.* Prepare the data with the model's"),
        ((first, *others), r"to all records or to none in the split 'validation' \(4 records; with the label: "),
    ):
        manifest = {"label_sets": {stored.label_set: names}, "preprocess": {"band": None}}
        store = Store(Path("store"), np.zeros((8, 12, 1000), np.int16), records, manifest)
        with pytest.raises(UserError, match=message):
            reduce_and_evaluate(stored, "fp16", tmp_path / "c.onnx", store)
    assert not list(tmp_path.iterdir())
