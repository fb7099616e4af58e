"""Commands write to local paths alone, and read only ECGs from others. As a path, an address would lose a slash."""

import pytest
from typer.testing import CliRunner

from ecgmtl.cli import app

ADDRESS = "s3://bucket/out"
MODEL = "s3://bucket/model.safetensors"


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["data", "synth", ADDRESS], "out"),
        (["data", "download", ADDRESS], "out"),
        (["data", "prepare", "records", ADDRESS], "out"),
        (["train", "--config", "quick", "--out", ADDRESS], "--out"),
        (["evaluate", "run", "--data", "store", "--out", ADDRESS], "--out"),
        (["compare", "arms", "--data", "store", "--out", ADDRESS], "--out"),
        (["export", "run", "--to", "onnx", "--out", ADDRESS], "--out"),
        (["convert", "a.hea", ADDRESS], "out"),
        (["reconstruct", "run", "a.hea", "--from", "I,II", "--out", ADDRESS], "--out"),
        (["predict", "a.hea", "--report", f"{ADDRESS}.html"], "--report"),
        (["predict", "a.hea", "--out", f"{ADDRESS}.csv"], "--out"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else value,
)
def test_an_address_is_refused_where_a_command_writes(arguments, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert f"{option}: remote addresses can only be read" in done.output.replace("'", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["convert", ADDRESS, "out"], "source"),
        (["train", "--data", ADDRESS], "--data"),
        (["train", "--config", ADDRESS], "--config"),
        (["train", "--resume", ADDRESS], "--resume"),
        (["evaluate", "run", "--data", ADDRESS], "--data"),
        (["export", "run", "--to", "onnx", "--out", "c.onnx", "--data", ADDRESS], "--data"),
        (["compare", ADDRESS, "--data", "store", "--out", "out"], "arms"),
        (["compare", "arms", "--data", "HTTPS://host/store", "--out", "out"], "--data"),
        (["data", "prepare", "records", "out", "--config", ADDRESS], "--config"),
        (["show", ADDRESS], ""),
        (["show", MODEL], ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_an_address_is_refused_where_a_command_reads_something_else_than_ecgs(arguments, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    message = "only `predict`, `reconstruct` and `data prepare` read remote addresses"
    assert f"{option}: {message}" in done.output.replace("'", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", MODEL, "a.hea"],
        ["reconstruct", MODEL, "a.hea", "--from", "I,II", "--out", "out"],
        ["evaluate", MODEL, "--data", "store"],
        ["export", MODEL, "--to", "onnx", "--out", "c.onnx"],
        ["serve", MODEL, "--port", "0"],
    ],
    ids=lambda value: value[0],
)
def test_an_address_of_a_model_is_refused(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 1
    assert f"{MODEL}: models are read from this computer or from MLflow; copy it here, and name its path" in done.output
    assert list(tmp_path.iterdir()) == []
