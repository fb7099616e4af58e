import ast
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_prep.readers import FORMATS
from data_prep.sources.labeled_folder import read_labeled_folder
from ecgmtl.cli import app
from ecgmtl.training.model_card import render_model_card
from tests.folders import ecg, write_record
from tests.training.test_model_card import CARD

PAGE = "docs/own-data.md"
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", [module.NAME for module in FORMATS])
def test_every_format_that_is_read_is_named_on_the_page_and_on_the_model_card(name):
    text = (ROOT / PAGE).read_text()
    assert f"\n| {name} |" in text
    assert name in render_model_card(CARD)


@pytest.mark.parametrize("command", ["predict", "reconstruct"])
def test_help_says_where_the_formats_are_listed(command):
    assert PAGE in "".join(CliRunner().invoke(app, [command, "--help"]).output.split())


def test_every_code_of_a_finding_is_described():
    files = [path for folder in ("data_prep", "ecgmtl") for path in (ROOT / folder).rglob("*.py")]
    calls = [node for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("Finding", "Remark")]
    codes = {call.args[0].value for call in made if call.args and isinstance(call.args[0], ast.Constant)}
    assert len(codes) > 30
    rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "docs/quality.md").read_text(), re.MULTILINE)
    assert codes <= {code for row in rows for code in re.findall(r"`([^`]+)`", row)}


def test_the_code_of_the_page_writes_labels_from_snomed_codes_in_headers(tmp_path, monkeypatch, rng):
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", (ROOT / PAGE).read_text(), re.DOTALL) if "Dx" in block
    )
    for name, comment in {"g1/a": "#Dx: 426783006", "g1/b": "# Dx: 164889003,713427006", "c": "# Age: 60"}.items():
        header = tmp_path / "georgia" / name
        write_record(header, ecg(rng))
        with header.with_suffix(".hea").open("a") as file:
            file.write(f"{comment}\n")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    source = read_labeled_folder(tmp_path / "georgia")
    source.require_sound()
    assert dict(zip(source.files, source.records["labels"], strict=True)) == {
        "g1/a.hea": "NORM",
        "g1/b.hea": "AF;RBBB",
    }
