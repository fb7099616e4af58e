"""The shipped configs, found by name in the repository and in an installed wheel."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from ecgmtl.cli.show import describe
from ecgmtl.config import shipped
from ecgmtl.config.parse import ConfigError
from ecgmtl.config.run import load_config

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


def test_a_name_finds_the_shipped_config_and_a_path_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ptbxl").mkdir()  # a folder of records, say, is no config
    for spelled in ("ptbxl", "configs/ptbxl.yaml"):
        assert shipped.find_config(Path(spelled)) == CONFIGS / "ptbxl.yaml"
    Path("configs").mkdir()
    own = Path("configs/ptbxl.yaml")
    own.write_text("name: mine\n")
    assert shipped.find_config(own) == own
    for spelled in ("ptbx", "ptbxl.yaml", "elsewhere/ptbxl.yaml", "configs"):
        with pytest.raises(ConfigError, match=rf"^{spelled}: .*shipped configs are ptbxl, .*quick, reconstruction\.$"):
            shipped.find_config(Path(spelled))


def test_a_name_finds_the_shipped_arms_though_a_folder_of_results_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("compare/runs").mkdir(parents=True)
    assert shipped.find_arms(Path("compare")) == shipped.find_arms(Path("configs/compare")) == CONFIGS / "compare"
    Path("compare/one.yaml").touch()
    assert shipped.find_arms(Path("compare")) == Path("compare")
    with pytest.raises(ConfigError, match=r"arms: no such folder; .* configs/compare, configs/pretraining"):
        shipped.find_arms(Path("arms"))


def test_each_shipped_config_is_listed_with_its_own_first_sentence():
    listed = describe("configs").splitlines()
    for name in shipped.config_names():
        (line,) = [line for line in listed if line.split()[:1] == [name]]
        assert line.split(maxsplit=1)[1][:30] in (CONFIGS / f"{name}.yaml").read_text().splitlines()[0]
    assert [line.split()[0] for line in listed if "configs/" in line] == [f"configs/{n}" for n in shipped.arm_names()]


def test_a_stage_is_found_in_the_configs_that_have_it():
    found = shipped.with_stage("joint")
    assert found["quick"] == load_config(CONFIGS / "quick.yaml").stages[1]
    assert "ptbxl" in found  # the command of the README
    assert "reconstruction" not in found
    assert shipped.with_stage("jiont") == {}


def test_every_package_is_in_the_wheel():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent for top in ("ecgmtl", "data_prep") for path in (ROOT / top).rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(listed) == names | {"ecgmtl.configs"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what a wheel of this tree installs."""
    place = tmp_path_factory.mktemp("wheel")
    for name in ("ecgmtl", "data_prep", "configs"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place / name)
    build = "from setuptools import build_meta; build_meta.build_wheel('wheel')"
    subprocess.run([sys.executable, "-c", build], cwd=place, check=True, capture_output=True)
    (wheel,) = (place / "wheel").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(place / "installed")
    return place / "installed"


def test_a_wheel_brings_the_configs(installed, tmp_path, monkeypatch):
    carried = {path.relative_to(installed / "ecgmtl/configs") for path in installed.rglob("*.yaml")}
    assert carried == {path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml")}
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("installed_shipped", installed / "ecgmtl/config/shipped.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.find_config(Path("configs/ptbxl.yaml")) == installed / "ecgmtl/configs/ptbxl.yaml"


def test_python_runs_the_package_as_the_command(installed, tmp_path):
    command, environment = [sys.executable, "-m", "ecgmtl", "--help"], os.environ | {"PYTHONPATH": str(installed)}
    said = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert "Usage: python -m ecgmtl " in said.stdout
