"""Models by name: which argument is a model, what a name leads to, and what is listed."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from ecgmtl import checkpoint
from ecgmtl.cli import app
from ecgmtl.inference.models import BUNDLED, BUNDLED_FILE, ModelNameError, find_model, is_model, split_model


@pytest.fixture
def folder(tmp_path, monkeypatch, stored, records):
    """Working folder with a finished run, an unfinished one, and a record."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("mine", "cut"):
        (tmp_path / "runs" / name / "validation").mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text("{}")
    checkpoint.save(tmp_path / "runs/mine/model.safetensors", stored)
    score = {"value": 0.9, "low": 0.85, "high": 0.95}
    report = {"n_records": 267, "classification": {"headline": {"macro_auroc": score}}}
    (tmp_path / "runs/mine/validation/metrics.json").write_text(json.dumps(report))
    (tmp_path / "ecgs").symlink_to(records)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("mine", "runs/mine"),
        ("runs/mine", "runs/mine"),
        (BUNDLED, str(BUNDLED_FILE)),
        ("models:/m@champion", "models:/m@champion"),
        ("elsewhere/model.onnx", "elsewhere/model.onnx"),
    ],
)
def test_a_model_is_found_by_path_uri_run_or_bundled_name(folder, name, path):
    assert find_model(name) == path
    assert is_model(name)


def test_a_misspelled_name_is_refused_with_the_closest_one(folder):
    with pytest.raises(ModelNameError, match=r"mime: there is no file, run .*Did you mean mine\?"):
        find_model("mime")


def test_a_path_takes_precedence_over_a_run_of_the_same_name(folder):
    (folder / "mine").mkdir()
    assert find_model("mine") == "mine"
    assert not is_model("mine")


def test_no_run_or_folder_takes_the_name_of_the_bundled_model(folder):
    for path in (folder / "runs" / BUNDLED, folder / BUNDLED):
        path.mkdir()
        (path / "run.json").write_text("{}")
    assert find_model(BUNDLED) == str(BUNDLED_FILE)
    assert find_model(f"runs/{BUNDLED}") == f"runs/{BUNDLED}"


@pytest.mark.parametrize("paths", [["ecgs"], ["ecgs/r0.hea", "ecgs/r1.hea"], ["ecgs/r0", "ecgs"], ["ecgs/*.hea", "x"]])
def test_ecgs_alone_are_predicted_with_the_bundled_model(folder, paths):
    assert split_model(paths) == (str(BUNDLED_FILE), paths)


def test_a_first_argument_that_is_a_model_is_the_model(folder):
    assert split_model(["mine", "ecgs"]) == ("runs/mine", ["ecgs"])
    assert split_model([BUNDLED, "ecgs"]) == (str(BUNDLED_FILE), ["ecgs"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine"], "mine: is a model; name the ECG files after it"),
        (["runs/mime", "ecgs"], "runs/mime: is neither a model nor an ECG"),
        (["mime", "ecgs"], "mime: is neither a model nor an ECG"),
        (["runs", "ecgs"], "runs: is a folder of runs; name one of them, for example runs/"),
    ],
)
def test_a_misspelled_model_never_gives_way_to_the_bundled_one(folder, arguments, message):
    with pytest.raises(ModelNameError, match=message):
        split_model(arguments)


def test_a_model_of_an_unknown_name_is_reported_without_a_traceback(folder):
    result = CliRunner().invoke(app, ["predict", "mime", "ecgs"])
    assert result.exit_code == 1
    assert "mime: is neither a model nor an ECG" in result.stderr


def test_the_models_are_listed_with_their_scores(folder):
    output = CliRunner().invoke(app, ["models"]).output
    lines = [tuple(line.split(maxsplit=1)) for line in output.splitlines() if line.startswith("  ")]
    listed = dict(lines)
    assert set(listed) == {BUNDLED, "mine", "cut"}
    assert "macro AUROC 0.9000 (95 % interval 0.8500 to 0.9500) on the validation split, 267 records" in listed["mine"]
    assert listed["cut"] == "not finished; continue with: ecgmtl train --resume runs/cut"


def test_a_registered_model_is_listed_by_its_alias(folder, migrated):
    from ecgmtl.tracking.store import import_mlflow, store_uri

    shutil.copy(migrated, "mlflow.db")
    client = import_mlflow().MlflowClient(store_uri())
    client.create_registered_model("reader")
    client.create_model_version("reader", str(folder), None)
    client.set_registered_model_alias("reader", "champion", "1")
    output = CliRunner().invoke(app, ["models"]).output
    assert "models:/reader@champion  version 1" in output


@pytest.mark.parametrize("command", [["show"], ["export", "--to", "pt2", "--out", "c.pt2"]])
def test_other_commands_find_a_run_by_its_name(folder, command):
    name, *options = command
    result = CliRunner().invoke(app, [name, "mine", *options])
    assert result.exit_code == 0, result.output
