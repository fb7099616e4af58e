import re
from pathlib import Path

from typer.testing import CliRunner

from data_prep.readers import READERS
from ecgmtl.cli import app
from ecgmtl.training.model_card import render_model_card
from tests.training.test_model_card import CARD

NAMES = {".hea": "wfdb", ".dat": "wfdb", ".mat": "wfdb", ".dcm": "dicom"}


def test_every_format_that_is_read_is_named_wherever_a_user_looks_for_it():
    formats = {NAMES.get(suffix, suffix.removeprefix(".")) for suffix in READERS}
    helps = [CliRunner().invoke(app, [command, "--help"]).output for command in ("predict", "reconstruct")]
    page = (Path(__file__).parents[2] / "docs/own-data.md").read_text()
    for text in (*helps, page, render_model_card(CARD)):
        assert formats - set(re.findall(r"\w+", text.lower())) == set()
