from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_prep.readers import FORMATS
from ecgmtl.cli import app
from ecgmtl.training.model_card import render_model_card
from tests.training.test_model_card import CARD

PAGE = "docs/own-data.md"


@pytest.mark.parametrize("name", [module.NAME for module in FORMATS])
def test_every_format_that_is_read_is_named_on_the_page_and_on_the_model_card(name):
    text = (Path(__file__).parents[2] / PAGE).read_text()
    assert f"\n| {name} |" in text
    assert name in render_model_card(CARD)


@pytest.mark.parametrize("command", ["predict", "reconstruct"])
def test_help_says_where_the_formats_are_listed(command):
    assert PAGE in "".join(CliRunner().invoke(app, [command, "--help"]).output.split())
