"""Options that do not go together are refused before torch or a model is loaded."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from ecgmtl.cli.evaluate import evaluate
from ecgmtl.data.split import SplitName
from ecgmtl.evaluation.protocols import PROTOCOLS
from ecgmtl.export.format import ExportFormat
from ecgmtl.export.write import WRITERS

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys


class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnxruntime"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
from ecgmtl.cli import main
main()
"""
ONNX = ["export", "run", "--to", "onnx", "--out", "c.onnx"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([*ONNX, "--int8", "--fp16", "--data", "store"], 2, "--int8 and --fp16: choose one of them."),
        ([*ONNX, "--int8"], 2, "--int8 needs --to onnx, and --data with a prepared folder."),
        (["export", "run", "--to", "pt2", "--out", "c.pt2", "--fp16", "--data", "s"], 2, "--fp16 needs --to onnx"),
        (["export", "run", "--to", "onx", "--out", "c.onx"], 2, "'onx' is not one of 'onnx', 'pt2', 'mlflow'"),
        (["export", "run", "--to", "onnx", "--out", "c.pt2"], 1, "c.pt2: an export to onnx should end in .onnx."),
        (["evaluate", "run", "--data", "s", "--split", "val"], 2, "'val' is not one of 'train', 'validation', 'test'"),
        (["evaluate", "run", "--data", "s", "--protocol", "helm"], 2, "'helm' is not one of 'whole', 'helme'"),
        (["predict", "a.hea", "--out", "p.xlsx"], 1, "p.xlsx: should end in .csv, .parquet, .jsonl; found '.xlsx'."),
        (["predict", "a.hea", "--report", "p.pdf"], 1, "p.pdf: a report should end in .html; found '.pdf'."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_is_refused_before_anything_is_loaded(arguments, code, said, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "300"}
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_the_choices_of_options_are_those_of_the_code():
    for command, option, choices in (
        (evaluate, "split", get_args(SplitName)),
        (evaluate, "protocol", PROTOCOLS),
    ):
        assert get_args(get_type_hints(command)[option]) == tuple(choices)
    assert list(WRITERS) == list(ExportFormat)
