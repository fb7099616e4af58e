"""Cards of single results: the packed signal is that of the file, and texts say what was counted."""

import base64
import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.leads import BASIS_LEADS, STANDARD_LEADS
from data_prep.preprocess import Preprocess
from data_prep.quality import Finding, Severity
from data_prep.readers import read_record
from data_prep.record import Record
from ecgmtl import checkpoint
from ecgmtl.inference.predict import predict
from ecgmtl.inference.predictor import load_predictor
from ecgmtl.inference.result import Failure
from ecgmtl.inference.windows import RecordSignals
from ecgmtl.metrics.calibration import ThresholdFigures
from ecgmtl.report_page.card import card
from ecgmtl.report_page.drawing import MISSING, STEP_MV, as_prepared, as_read, pack
from ecgmtl.report_page.facts import facts, of_threshold


@pytest.fixture(scope="module")
def predictor(stored, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    checkpoint.save(path, stored)
    return load_predictor(path)


def unpack(text):
    """The header and arrays, in mV, as a browser decodes them."""
    content = zlib.decompress(base64.b64decode(text))
    start = 4 + int.from_bytes(content[:4], "little")
    header, arrays = json.loads(content[4:start]), []
    for n_rows, n_samples in header["shapes"]:
        size = n_rows * n_samples
        low, high = np.frombuffer(content, np.uint8, 2 * size, start).reshape(2, -1).astype(np.uint16)
        start += 2 * size
        steps = np.cumsum((low | high << 8).reshape(n_rows, n_samples), axis=1, dtype=np.uint16).view(np.int16)
        arrays.append(np.where(steps == MISSING, np.nan, steps * STEP_MV))
    return header, arrays


def signals_of(record):
    return RecordSignals(record, Preprocess()(record))


def test_a_drawing_has_the_samples_of_the_file(records):
    record = read_record(records / "r0.hea")
    header, (rows,) = unpack(pack(as_read(signals_of(record), 100), {}))
    wanted = record.signal.T - np.median(record.signal.T, axis=1, keepdims=True)
    assert (header["leads"], header["fs"]) == (list(BASIS_LEADS), 100)
    for row, lead in zip(rows, header["leads"], strict=True):
        np.testing.assert_allclose(row, wanted[STANDARD_LEADS.index(lead)], atol=0.51 * STEP_MV)


def test_leads_that_contradict_each_other_are_drawn_as_they_are(records):
    record = read_record(records / "r0.hea")
    wrong = record.signal.copy()
    wrong[:, 2] += np.linspace(0, 0.1, len(wrong), dtype=np.float32)
    header, _ = unpack(pack(as_read(signals_of(replace(record, signal=wrong)), 100), {}))
    assert header["leads"] == list(STANDARD_LEADS)


def test_a_lead_that_a_model_reconstructed_is_marked_in_both_drawings(records):
    record = read_record(records / "r0.hea")
    marked = replace(record, leads=(*record.leads[:11], "V6 reconstructed"))
    for drawing in (as_read(signals_of(marked), 100), as_prepared(signals_of(marked), 100)):
        assert unpack(pack(drawing, {}))[0]["reconstructed"] == ["V6"]


def test_a_gap_is_drawn_as_a_gap_and_a_lead_that_the_file_lacks_is_marked(records):
    record = read_record(records / "r0.hea")
    signal = np.delete(record.signal, 4, axis=1)
    signal[500:503, 7] = np.nan
    short = Record(record.name, signal, 2000.0 / 2, tuple(np.delete(STANDARD_LEADS, 4).tolist()))
    short = replace(short, signal=np.repeat(signal, 10, axis=0))
    drawing = as_read(signals_of(short), 100)
    assert (drawing.fs, drawing.computed, drawing.rows.shape) == (500, ("aVL",), (12, 5000))
    assert np.isnan(drawing.rows[8, 2500:2515]).all()
    assert np.isnan(drawing.rows).sum() <= 16
    one, two = drawing.rows[0], drawing.rows[1]
    error = drawing.rows[4] - (one - two / 2)
    assert np.abs(error - np.median(error)).mean() < 0.05


def test_a_long_record_is_drawn_as_far_as_the_model_reads_it(records):
    record = read_record(records / "r0.hea")
    long = replace(record, signal=np.tile(record.signal, (3, 1)))
    assert as_read(signals_of(long), 100).rows.shape == (12, 1000)


def test_a_model_without_a_finite_output_for_a_part_has_no_explanation(records, predictor, monkeypatch):
    (result,) = predict(predictor, records / "r1.hea", keep_signals=True)
    monkeypatch.setattr(predictor, "logits", lambda signals: np.full((len(signals), 5), np.nan, np.float32))
    header, arrays = unpack(card(result, predictor).drawing)
    assert "explanation" not in header
    assert len(arrays) == 3


def test_a_short_record_is_drawn_without_what_filled_it_up(records):
    record = read_record(records / "r0.hea")
    drawing = as_prepared(signals_of(replace(record, signal=record.signal[:640])), 100)
    assert drawing.rows.shape == (12, 640)


def test_a_card_holds_what_was_predicted_reconstructed_and_explained(predictor, records):
    (result,) = predict(predictor, records / "r1.hea", keep_signals=True)
    made = card(result, predictor)
    header, (signal, reconstructed, error) = unpack(made.drawing)
    assert made.summary["probabilities"] == pytest.approx([*result.calibrated.values()], abs=1e-4)
    assert made.summary["decisions"] == [int(value) for value in result.decisions.values()]
    assert (signal.shape, reconstructed.shape, error.shape) == ((8, 1000), (12, 1000), (12, 1000))
    prepared = result.signals.prepared.signal
    gap = np.square(reconstructed + np.median(prepared, axis=1, keepdims=True) - prepared)
    assert np.sqrt(gap.mean()) == pytest.approx(np.sqrt(np.square(error).mean()), rel=0.1)
    assert len(header["explanation"]["labels"]) == 5
    assert {len(label["time"]) for label in header["explanation"]["labels"]} == {50}
    for label in header["explanation"]["labels"]:
        probability = made.summary["probabilities"][label["label"]]
        assert 1 / (1 + np.exp(-label["logit"])) == pytest.approx(probability, abs=1e-3)
    plain, _ = unpack(card(result, predictor, detailed=False).drawing)
    assert "explanation" not in plain
    assert not plain["is_read"]


def test_every_sample_is_reconstructed_from_others(predictor, records):
    (result,) = predict(predictor, records / "r1.hea", keep_signals=True)
    signal = result.signals.prepared.signal
    moved = signal.copy()
    moved[:, 500] += 1  # a sample of the block from 4.8 to 5.2 s
    change = np.abs(predictor.reconstruct_masked(moved) - predictor.reconstruct_masked(signal))
    assert change[:, 480:520].max() < 1e-6
    assert change[:, 440:480].max() > 1e-6


def test_a_failure_has_a_card_without_a_drawing_and_with_all_its_findings(predictor):
    found = (Finding("few-leads", "too few leads.", Severity.FAILURE, ("V3",)), Finding("note", "a note."))
    made = card(Failure(Path("a\x1b.csv"), "a.csv: too few leads.", found), predictor)
    assert made.drawing is None
    assert made.summary == {
        "path": "a\\x1b.csv",
        "status": "failed",
        "findings": [
            {"severity": "failed", "code": "few-leads=V3", "sentence": "a.csv: too few leads."},
            {"severity": "note", "code": "note", "sentence": "a note."},
        ],
    }


def test_a_threshold_is_explained_by_what_was_counted():
    figures = ThresholdFigures(n_positive=100, n_negative=300, true_positives=78, true_negatives=279, auroc=0.9)
    found = of_threshold(figures)
    assert found["sentence"] == "Reached by 78 of 100 validation records with it and by 7 of 100 without."
    sensitivity, specificity, precision = "78 % (69 to 85 %)", "93 % (90 to 95 %)", "79 % (70 to 86 %)"
    assert found["cells"] == ["100 of 400", sensitivity, specificity, precision, "0.900"]
    never = of_threshold(figures.model_copy(update={"true_positives": 0, "true_negatives": 300}))
    assert never["cells"][1:4] == ["0 % (0 to 4 %)", "100 % (99 to 100 %)", "–"]


def test_a_model_of_an_earlier_version_says_that_it_has_no_figures(predictor):
    told = facts(predictor.metadata, "runs/mine")
    assert told["figures"] == ""
    assert [label["sentence"] for label in told["labels"]] == [""] * 5
    assert told["labels"][2]["meaning"] == "myocardial infarction"
