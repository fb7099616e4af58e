"""Records unlike the training records: the finding in predictions, and the options of the command."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from data_prep.quality import Severity
from data_prep.synthetic.folder import LEADS
from data_prep.synthetic.waveform import synthesize
from data_prep.wfdb_writer import write_record
from ecgmtl import checkpoint
from ecgmtl.cli import app
from ecgmtl.export.write import export
from ecgmtl.inference.metadata import ModelMetadata
from ecgmtl.inference.predictor import load_predictor
from ecgmtl.inference.torch_predictors import metadata_of
from ecgmtl.inference.trained import TrainedModel
from ecgmtl.metrics.typicality import fit_typicality
from tests.models import predictions


def ecg(seed):
    return synthesize(["NORM", "SR"], 100, 10.0, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def known(stored):
    """A checkpoint that knows how its training records look."""
    signals = np.stack([ecg(seed).T / 1000 for seed in range(100, 220)]).astype(np.float32)
    return replace(stored, typicality=fit_typicality([signals], [signals], 100))


@pytest.fixture(scope="module")
def model(known, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    checkpoint.save(path, known)
    return path


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    write_record(folder / "plain", ecg(150), 100, LEADS)
    write_record(folder / "turned", -ecg(150), 100, LEADS)
    return folder


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_no_decision_is_made_on_a_record_unlike_the_training_records(model, files):
    plain, turned = predictions(model, files)
    assert plain.unlike_training < 1 < turned.unlike_training
    assert plain.undecided is None
    (finding,) = [finding for finding in turned.findings if finding.code == "unlike-training"]
    assert (finding.severity, finding.value) == (Severity.NO_DECISION, turned.unlike_training)
    assert "unlike the training records in" in turned.undecided
    assert turned.decisions == {}


def test_an_onnx_export_tells_the_same(known, model, files, tmp_path, signals):
    export(known, "onnx", tmp_path / "small.onnx", signals)
    for ours, exported in zip(predictions(model, files), predictions(tmp_path / "small.onnx", files), strict=True):
        assert exported.unlike_training == ours.unlike_training
        assert exported.decisions == ours.decisions


def test_the_command_writes_the_score_and_strict_makes_it_a_failure(model, files, tmp_path):
    out = tmp_path / "out.csv"
    assert run("predict", model, files, "--out", out).exit_code == 0
    table = pd.read_csv(out)
    assert (table["unlike_training"] > 1).tolist() == [False, True]
    assert "unlike-training" in table["findings"][1]
    assert run("predict", model, files, "--out", out, "--strict").exit_code == 3
    assert pd.read_csv(out)["status"].tolist() == ["ok", "failed"]


def test_without_the_warning_a_decision_is_made(model, files, tmp_path):
    out = tmp_path / "out.csv"
    assert run("predict", model, files, "--out", out, "--no-warn-ood").exit_code == 0
    table = pd.read_csv(out)
    assert table["unlike_training"].isna().all()
    assert table["decision_MI"].notna().all()
    trained = TrainedModel("small", load_predictor(model))
    assert trained.predict(files, warn_ood=False)["decision_MI"].notna().all()
    assert trained.predict(files)["decision_MI"].isna().tolist() == [False, True]


def test_the_warning_asked_of_a_model_that_cannot_give_it_is_refused(stored, files, tmp_path):
    checkpoint.save(tmp_path / "old.safetensors", stored)
    result = run("predict", tmp_path / "old.safetensors", files, "--warn-ood")
    assert result.exit_code != 0
    assert "cannot tell which records are unlike its training records" in result.output
    assert predictions(tmp_path / "old.safetensors", files)[0].unlike_training is None


def test_metadata_of_an_earlier_export_are_read(stored):
    text = metadata_of(stored).to_json().replace('"typicality": null, ', "")
    assert "typicality" not in text
    assert ModelMetadata.from_json(text, "earlier").typicality is None
