"""Commands write to local paths alone. As a path, an address would lose a slash and name a folder `s3:` here."""

import pytest
from typer.testing import CliRunner

from ecgmtl.cli import app

ADDRESS = "s3://bucket/out"


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
    assert f"{option}: remote places are only read" in done.output.replace("'", "")
    assert list(tmp_path.iterdir()) == []
