import platform
import re
from importlib.metadata import version

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from ecgmtl import checkpoint
from ecgmtl.checkpoint import CheckpointError
from ecgmtl.cli import app
from ecgmtl.cli.show import describe
from ecgmtl.config.parse import ConfigError
from ecgmtl.config.run import Config, load_config, parse_config
from ecgmtl.inference.torch_predictors import metadata_of
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.report_page.facts import facts
from tests.models import LABELS, untrained


@pytest.fixture
def path(tmp_path):
    checkpoint.save(tmp_path / "model.safetensors", untrained(CnnSettings(widths=(8, 16))))
    return tmp_path / "model.safetensors"


def test_the_defaults_are_shown_as_a_valid_config(tmp_path):
    shown = tmp_path / "shown.yaml"
    shown.write_text(describe("defaults"))
    assert load_config(shown) == Config()


def test_a_config_is_shown_with_all_settings(tmp_path):
    (tmp_path / "c.yml").write_text("name: mine\nencoder: {kind: transformer}\n")
    tree = yaml.safe_load(describe(str(tmp_path / "c.yml"), ("seed=5",)))
    assert parse_config(tree, "shown") == load_config(tmp_path / "c.yml", ("seed=5",))
    assert (tree["name"], tree["seed"], tree["encoder"]["kind"]) == ("mine", 5, "transformer")


def test_a_checkpoint_is_described_by_labels_sizes_and_settings(path):
    stored = checkpoint.load(path)
    tree = yaml.safe_load(describe(str(path)))
    assert tuple(tree["labels"]) == LABELS
    assert tree["labels"]["MI"] == {"threshold": 0.4, "slope": 1.2, "intercept": 0.1}
    assert sum(tree["parameters"].values()) == sum(p.numel() for p in stored.model.parameters())
    assert parse_config(tree["config"], "shown") == stored.config
    assert tree["file_megabytes"] == pytest.approx(path.stat().st_size / 1e6, abs=0.005)
    assert tree["provenance"] == {"stage": "decay"}


def test_a_shipped_config_is_shown_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick").mkdir()
    tree = yaml.safe_load(describe("quick", ("seed=5",)))
    assert parse_config(tree, "shown") == Config(seed=5)


def test_a_run_is_shown_as_its_model(path):
    (path.parent / "run.json").write_text("{}")
    assert describe(str(path.parent)) == describe(str(path))


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("configs", "`configs` lists the shipped ones"),
        ("ptbxl-superdiagnostic", "ptbxl-superdiagnostic is not a config"),
        ("run/model.safetensors", "run/model.safetensors is not a config"),
        ("run", "run is not a config"),
    ],
)
def test_a_setting_is_refused_where_no_config_is_named(monkeypatch, tmp_path, source, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text("{}")
    done = CliRunner().invoke(app, ["show", source, "--set", "seed=1"], env={"COLUMNS": "300"})
    assert done.exit_code == 2, done.output
    assert (
        f"--set seed=1: changes a setting of a config, and {named}; name a config, or leave out --set." in done.output
    )


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("none.yaml", ConfigError),
        ("none.safetensors", CheckpointError),
        ("folder", CheckpointError),
        ("nothing", ConfigError),
    ],
)
def test_a_source_that_cannot_be_shown_is_named(tmp_path, name, error):
    (tmp_path / "folder").mkdir()
    with pytest.raises(error, match=name):
        describe(str(tmp_path / name))


def test_a_trained_model_says_its_commit_data_versions_and_command(monkeypatch, few_prepared, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["/bin/ecgmtl", "train", "--out", "my run"])
    options = [f"--set=stages.{stage}.epochs=1" for stage in range(3)]
    options += ["--set=encoder.widths=[4, 4]", "--set=decoder.width=4", "--set=forest.n_trees=3"]
    options += ["--no-track", "--threads=1"]
    done = CliRunner().invoke(app, ["train", "--data", str(few_prepared.path), "--out", "my run", *options])
    assert done.exit_code == 0, done.output
    shown = yaml.safe_load(describe("my run"))["provenance"]
    assert shown["command"] == "ecgmtl train --out 'my run'"
    assert shown["data"] == f"{few_prepared.path.parent.name}/store"
    assert shown["data_sha256"] == few_prepared.sha256
    assert f"python {platform.python_version()}, torch {version('torch')}, numpy {np.__version__}" in shown["versions"]
    assert re.fullmatch(r"[0-9a-f]{40}( with changes)?", shown["commit"])
    metadata = metadata_of(checkpoint.load(tmp_path / "my run/model.safetensors"))
    assert metadata.provenance == shown  # which every export holds
    assert not {"command", "data"} & facts(metadata, "my run")["provenance"].keys()
