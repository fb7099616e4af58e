"""What is said where the packages of an extra cannot be imported."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from data_prep.extras import EXTRAS, MissingExtraError, import_extra
from data_prep.readers import read_record
from data_prep.record import RecordError
from ecgmtl.cli.terminal import spoken_errors
from ecgmtl.export.write import export

ROOT = Path(__file__).parent.parent
PREDICT = """
import sys
sys.modules["onnxruntime"] = None
from ecgmtl.inference.predictor import load_predictor
from ecgmtl.cli.terminal import spoken_errors
with spoken_errors():
    load_predictor("c.onnx")
"""


def test_a_process_without_onnxruntime_is_told_what_to_install(tmp_path):
    (tmp_path / "c.onnx").touch()
    command, environment = [sys.executable, "-c", PREDICT], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    told = "c.onnx: the package onnxruntime is not installed; to install it: pip install onnxruntime"
    assert told in done.stderr
    assert "torch" not in done.stderr


def test_a_command_whose_package_is_missing_says_which_one_instead_of_a_traceback(capsys):
    with pytest.raises(typer.Exit), spoken_errors():
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    assert capsys.readouterr().err == (
        "this needs the package torch, which is not installed; `pip install ecgmtl` installs all packages.\n"
    )


def test_a_missing_module_of_ecgmtl_is_a_bug_and_keeps_its_traceback():
    with pytest.raises(ModuleNotFoundError), spoken_errors():
        raise ModuleNotFoundError("No module named 'ecgmtl.gone'", name="ecgmtl.gone")


def test_a_file_whose_package_is_missing_says_which_one(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    (tmp_path / "a.csv").write_text("# fs=100 unit=mV\nI,II\n" + "0.1,0.2\n" * 1000)
    with pytest.raises(RecordError, match=r"a\.csv cannot be read: the package pandas is not installed"):
        read_record(tmp_path / "a.csv")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_an_export_to_onnx_is_refused_before_it_begins(package, stored, signals, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"^--to onnx: the package {package} is not installed; .*\[onnx\]'$"):
        export(stored, "onnx", tmp_path / "c.onnx", signals)
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_is_broken_is_told_with_its_reason(tmp_path, monkeypatch):
    (tmp_path / "onnxscript.py").write_text("raise ImportError('no libstdc++')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxscript", raising=False)
    with pytest.raises(MissingExtraError, match=r"cannot be imported \(no libstdc\+\+\); to install it: "):
        import_extra("onnxscript", "--to onnx")


def test_the_extras_are_those_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name: {line.partition(">")[0] for line in extras[name]} for name in set(EXTRAS.values())} == {
        extra: {package for package in EXTRAS if EXTRAS[package] == extra} for extra in EXTRAS.values()
    }


def test_onnxruntime_leaves_no_usage_data_behind(tmp_path):
    code = "from ecgmtl.inference.predictor import load_predictor; load_predictor()"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []
