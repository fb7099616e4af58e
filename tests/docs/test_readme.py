"""Commands, options, settings, output and files in README and CONTRIBUTING agree with the command line and the tree."""

import contextlib
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from ecgmtl.cli import app
from ecgmtl.config.run import load_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = TEXT + CONTRIBUTING
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", TEXT, flags=re.DOTALL | re.MULTILINE))
CODE = [*SPANS, *(line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines())]


def commands(lines):
    """Each `ecgmtl …` among these lines, without its prompt and its folder."""
    found = (re.search(r"(?:^|[\s/])ecgmtl ([^#&|]+)", line) for line in lines)
    return sorted({match[1].strip() for match in found if match})


def parse(words):
    """What the command line makes of these words; it raises on whatever it does not know."""
    command = get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words[0]]
        words = words[1:]
    with command.make_context(command.name, list(words)) as context:
        return context.params


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("trian", "trian"),
        ("train --datum d", "--datum"),
        ("evaluate m", "data"),
        ("ui --port x", "valid integer"),
        ("data synth", "out"),
    ],
)
def test_what_the_command_line_does_not_know_is_noticed(line, said):
    with pytest.raises(Exception, match=said):
        parse(line.split())


@pytest.mark.parametrize("command", commands(CODE))
def test_a_command_of_the_readme_is_one_that_there_is(command):
    assert parse(shlex.split(command)) is not None


def test_the_readme_shows_every_step_of_the_main_job():
    shown = {command.split()[0] for command in commands(CODE)}
    assert shown >= {"data", "train", "evaluate", "predict", "export", "ui", "show"}


def test_the_demo_that_is_shown_is_the_one_that_is_run():
    (demo,) = (block for block in BLOCKS if "quick.yaml" in block)
    told = commands(line for line in demo.splitlines() if line.startswith("$ "))
    made = (ROOT / "Makefile").read_text().partition("\ndemo:")[2].partition("\n\n")[0]
    recipe = [line for line in made.splitlines() if "@echo" not in line]
    assert told == commands(recipe)


def test_the_first_prediction_that_is_shown_is_the_one_that_is_printed(tmp_path):
    (block,) = (block for block in BLOCKS if "data synth" in block)
    lines = block.splitlines()
    with contextlib.chdir(tmp_path):
        done = [CliRunner().invoke(app, shlex.split(line)[2:]) for line in lines if line.startswith("$ ecgmtl")]
    assert [result.exit_code for result in done] == [0, 0]
    printed = "".join(result.output for result in done)
    shown = "\n".join(line for line in lines if not line.startswith("$ "))
    figures = [[float(figure) for figure in re.findall(r"\d+\.\d+", text)] for text in (shown, printed)]
    assert re.sub(r"\d+\.\d+", "#", shown).split() == re.sub(r"\d+\.\d+", "#", printed).split()
    assert figures[0] == pytest.approx(figures[1], abs=0.02)  # probabilities differ a little between machines


def test_a_make_target_of_the_readme_is_one_that_there_is():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for line in CODE for name in re.findall(r"\bmake (\w+)", line)}
    assert {"demo", "test", "check"} <= named <= targets


def test_an_option_of_the_readme_is_one_that_there_is():
    known, waiting = {"--help"}, [get_command(app)]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        known |= {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    named = {name for line in CODE if "pip" not in line for name in re.findall(r"(?<!\S)--[a-z-]+", line)}
    assert {"--set", "--resume"} <= named <= known


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"--set ([\w.]+=[^\s`]+)", TEXT))))
def test_a_setting_of_the_readme_is_one_that_there_is(setting):
    load_config(None, (re.sub("=N$", "=1", setting),))


def test_a_file_of_the_readme_is_one_that_there_is():
    places = ("configs", "data_prep", "ecgmtl", "benchmarks", "tests")
    files = [*ROOT.glob("*.*"), *(path for place in places for path in (ROOT / place).rglob("*.*"))]
    there = [f"/{path.relative_to(ROOT)}" for path in files]
    named = {name.removeprefix("../") for name in re.findall(r"[\w./-]+\.(?:py|yaml|toml|txt)\b", PAGES)}
    assert {"configs/ptbxl.yaml", "data_prep/preprocess.py"} <= named
    assert [name for name in sorted(named) if not any(path.endswith(f"/{name}") for path in there)] == []


def test_a_link_of_the_readme_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGES) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_tree_that_is_shown_is_the_tree():
    (tree,) = re.findall(r"^## The tree\n+```\n(.*?)^```", CONTRIBUTING, re.DOTALL | re.MULTILINE)
    parent, shown = ROOT, []
    for indent, name in re.findall(r"^( *)(\S+)  +\S", tree, re.MULTILINE):
        shown.append(parent / name if indent else ROOT / name)
        parent = parent if indent else ROOT / name
    assert len(shown) > 20
    assert [path for path in shown if not path.exists()] == []
    packages = {path.parent for name in ("data_prep", "ecgmtl") for path in (ROOT / name).rglob("__init__.py")}
    assert packages <= set(shown)


def test_the_readme_is_short_and_shows_output_early():
    lines = TEXT.splitlines()
    assert len(lines) <= 150
    assert any(line.startswith("$ ecgmtl") for line in lines[:30])
