"""The slim distribution: the same code and the same bounds of dependencies, without torch and MLflow."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SLIM = tomllib.loads((ROOT / "slim" / "pyproject.toml").read_text())["project"]
LEFT_OUT = ("torch", "scikit-learn", "mlflow", "safetensors", "pandas", "pyarrow", "matplotlib")
RUN = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "sklearn", "mlflow", "safetensors", "pandas", "pyarrow", "matplotlib"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Missing())
from ecgmtl.cli import main
main()
"""
SERVER = ("fastapi", "uvicorn", "python-multipart")
"""Packages of `ecgmtl serve`."""


def run(folder, *arguments):
    command, environment = [sys.executable, "-c", RUN, *arguments], {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def name_of(requirement):
    return requirement.partition(">")[0]


def test_the_dependencies_are_those_of_ecgmtl_without_the_large_ones():
    left_out = (*LEFT_OUT, *SERVER)
    assert SLIM["dependencies"] == [entry for entry in WHOLE["dependencies"] if name_of(entry) not in left_out]


def test_the_extras_have_the_bounds_of_ecgmtl():
    extras = [requirement for extra in SLIM["optional-dependencies"].values() for requirement in extra]
    own = [requirement for extra in WHOLE["optional-dependencies"].values() for requirement in extra]
    assert set(extras) <= {*WHOLE["dependencies"], *own}


def test_the_python_versions_and_the_command_are_the_same():
    assert (SLIM["requires-python"], SLIM["scripts"]) == (WHOLE["requires-python"], WHOLE["scripts"])


@pytest.mark.parametrize("out", [[], ["--out", "p.csv"], ["--out", "p.jsonl"], ["--report", "p.html"]])
def test_a_record_is_predicted_without_the_packages_that_are_left_out(records, tmp_path, out):
    done = run(tmp_path, "predict", str(records / "r0.hea"), *out)
    assert done.returncode == 0, done.stderr
    assert "1 record predicted, 0 failed" in done.stderr


def test_training_says_what_to_install(tmp_path):
    done = run(tmp_path, "train", "--out", "run")
    assert done.returncode == 1
    assert "which is not installed; `pip install ecgmtl` installs all packages" in done.stderr
    assert "Traceback" not in done.stderr
