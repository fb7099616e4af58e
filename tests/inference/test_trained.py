"""The Python interface: read, load, predict and reconstruct."""

import re
from pathlib import Path

import numpy as np
import pytest

import ecgmtl
from data_prep.leads import STANDARD_LEADS
from data_prep.record import Record, RecordError
from ecgmtl import checkpoint
from ecgmtl.inference.models import BUNDLED
from ecgmtl.inference.reconstruct import ReconstructError
from tests.folders import entry_of


@pytest.fixture(scope="module")
def model(stored, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    checkpoint.save(path, stored)
    return ecgmtl.load(path)


def test_a_record_is_predicted_as_its_file_is(model, records):
    table = model.predict([records / "r0.hea", ecgmtl.read(records / "r0"), records / "r1.hea"])
    assert table["path"].tolist() == [str(records / "r0.hea"), "r0", str(records / "r1.hea")]
    columns = [f"calibrated_{name}" for name in model.label_names]
    first, again, other = table[columns].to_numpy(float)
    assert again == pytest.approx(first, abs=1e-6)
    assert np.abs(other - first).max() > 1e-3


def test_a_record_that_cannot_be_predicted_is_a_row_with_the_reason(model, records):
    flat = Record("flat", np.zeros((1000, 12), np.float32), 100.0, STANDARD_LEADS)
    table = model.predict([flat, records / "r0.hea"])
    assert table["status"].tolist() == ["failed", "ok"]
    assert "every lead is flat" in table["message"][0]


def test_a_model_and_an_ecg_may_be_named_by_the_entry_of_a_folder(model, records):
    table = model.predict(entry_of(records / "r0.hea"))
    assert (table["path"].tolist(), table["status"].tolist()) == ([str(records / "r0.hea")], ["ok"])
    assert ecgmtl.load(entry_of(Path(model.name))).name == model.name


def test_other_files_of_a_folder_are_counted_in_a_warning(model, records, tmp_path):
    (tmp_path / "notes.txt").write_text("about the ECGs")
    for suffix in (".hea", ".dat"):
        (tmp_path / f"r0{suffix}").write_bytes((records / f"r0{suffix}").read_bytes())
    with pytest.warns(UserWarning, match=r"not read: 1 .*notes\.txt"):
        table = model.predict(tmp_path)
    assert len(table) == 1


@pytest.mark.parametrize(("name", "found"), [("*.hea", "more than one"), (".", "more than one")])
def test_one_record_is_read_at_a_time(records, monkeypatch, name, found):
    monkeypatch.chdir(records)
    with pytest.raises(RecordError, match=f"{re.escape(name)}: should be one record; found {found}"):
        ecgmtl.read(name)


def test_facts_that_a_file_lacks_are_passed_as_on_the_command_line(tmp_path, rng):
    values = rng.normal(0, 300, (1000, 2))
    np.savetxt(tmp_path / "a.csv", values, delimiter=",", header="I,II", comments="")
    record = ecgmtl.read(tmp_path / "a.csv", fs=250, unit="uV")
    assert (record.fs, record.leads) == (250, ("I", "II"))
    assert record.signal == pytest.approx(values / 1000, abs=1e-4)


def test_leads_are_reconstructed_and_the_given_ones_kept(model, records):
    record = ecgmtl.read(records / "r2.hea")
    complete = model.reconstruct(record, from_leads=["I", "II", "V2"])
    kept = [0, 1, 7]
    assert complete.signal[:, kept] == pytest.approx(record.signal[:, kept], abs=6e-4)
    assert [name for name in complete.leads if "reconstructed" in name] == [
        f"{lead} reconstructed" for lead in ("V1", "V3", "V4", "V5", "V6")
    ]


def test_the_bundled_model_is_loaded_by_default_and_has_no_decoder(records):
    model = ecgmtl.load()
    assert model.name == BUNDLED
    assert repr(model).startswith(f"<{BUNDLED}: ")
    with pytest.raises(ReconstructError, match="has no decoder; load a run"):
        model.reconstruct(records / "r0.hea", from_leads="I,II")


def test_an_explanation_is_about_the_label_asked_for_and_the_probability_predicted(model, records):
    table = model.predict(records / "r0.hea")
    explanation = model.explain(records / "r0.hea", label="HYP")
    assert (explanation.label, explanation.probability) == ("HYP", pytest.approx(table["calibrated_HYP"][0], abs=1e-5))
    assert explanation.time.index[:3].tolist() == [0.0, 0.2, 0.4]
    assert explanation.leads.index.tolist() == ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]


def test_without_a_label_the_one_farthest_above_its_threshold_is_explained(model, records):
    table = model.predict(records / "r3.hea").iloc[0]
    thresholds = model.predictor.metadata.calibration.thresholds
    margins = [
        table[f"calibrated_{name}"] - threshold for name, threshold in zip(model.label_names, thresholds, strict=True)
    ]
    assert model.explain(records / "r3.hea").label == model.label_names[int(np.argmax(margins))]


def test_a_plotted_explanation_is_shaded_where_the_signal_speaks_for_the_label(model, records):
    explanation = model.explain(records / "r0.hea")
    spans = [patch for patch in explanation.plot().axes[0].patches if patch.get_alpha()]
    assert len(spans) == (explanation.time > 0).sum()
    darkest = max(spans, key=lambda patch: patch.get_alpha())
    assert darkest.get_x() == pytest.approx(25.0 * explanation.time.idxmax(), abs=1e-6)


def test_an_unknown_label_is_refused(model, records):
    with pytest.raises(ValueError, match="label 'AF' is not one of CD, HYP"):
        model.explain(records / "r0.hea", label="AF")
