"""The pages that a reader follows step by step do what they say: the tutorial, and those on adding a part."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ecgmtl.cli import app

ROOT = Path(__file__).parents[2]
SPEED = re.compile(r"\d+ records/s")
FIGURE = re.compile(r"\d+\.\d+")
TOLERANCE = 0.2  # figures of a small network on 29 records differ between machines
PARTS = {
    "new-encoder.md": "ecgmtl/model/encoders/small.py",
    "new-task.md": "ecgmtl/tasks/elderly.py",
    "new-weighting.md": "ecgmtl/optimization/weighting/equal.py",
}


def blocks(page, language):
    """Return the code blocks of a page in one language."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(command, folder):
    """Run a command of a page in this process, which has loaded all that it needs, and return what it prints."""
    program, *words = shlex.split(command)
    assert program == "ecgmtl"
    with contextlib.chdir(folder):
        expanded = [each for word in words for each in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        done = CliRunner().invoke(app, expanded, env={"COLUMNS": "200", "MLFLOW_TRACKING_URI": None})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == (3 if "data check" in command else 0), done.output  # 3: something is unusual
    return done.output


def alike(shown, printed):
    """Return whether two lines have the same words, and almost the same figures."""
    shown, printed = (SPEED.sub("", line).rstrip() for line in (shown, printed))
    pairs = zip(FIGURE.findall(shown), FIGURE.findall(printed), strict=False)
    same_words = re.sub(r"\s+", " ", FIGURE.sub("#", shown)) == re.sub(r"\s+", " ", FIGURE.sub("#", printed))
    return same_words and all(abs(float(one) - float(other)) < TOLERANCE for one, other in pairs)


def test_lines_with_other_words_or_far_figures_are_not_alike():
    assert alike("AUROC 0.91, 40 records/s", "AUROC 0.93, 700 records/s")
    assert not alike("AUROC 0.91", "AUROC 0.71")
    assert not alike("AUROC 0.91", "RMSE 0.91")


@pytest.mark.slow
def test_the_tutorial_prints_what_it_shows(migrated, tmp_path):
    shutil.copy(migrated, tmp_path / "mlflow.db")
    (tmp_path / "first.yaml").write_text(*blocks("tutorial.md", "yaml"))
    for block in blocks("tutorial.md", "console"):
        command, *shown = block.splitlines()
        printed = iter(run(command.removeprefix("$ "), tmp_path).splitlines())
        missing = [line for line in shown if line != "..." and not any(alike(line, each) for each in printed)]
        assert missing == [], command
    assert (tmp_path / "report.html").is_file()


def change(text, diff):
    """Apply a change that is shown without line numbers; its context is found once."""
    old = "".join(line[1:] for line in diff.splitlines(keepends=True) if line[0] != "+").rstrip("\n")
    new = "".join(line[1:] for line in diff.splitlines(keepends=True) if line[0] != "-").rstrip("\n")
    assert text.count(old) == 1, old
    return text.replace(old, new)


@pytest.mark.slow
def test_parts_that_are_added_as_the_pages_say_can_be_trained(few_prepared, tmp_path):
    for name in ("ecgmtl", "data_prep", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name)  # with the compiled modules, where there are any
    for page, path in PARTS.items():
        (code,) = blocks(page, "python")
        (tmp_path / path).write_text(code)
        listing = (tmp_path / path).with_name("__init__.py")
        for diff in blocks(page, "diff"):
            listing.write_text(change(listing.read_text(), diff))
    stage = {
        "name": "joint",
        "trains": ["encoder", "decoder", "classifier", "elderly"],
        "losses": ["reconstruction", "classification", "elderly"],
        "weighting": {"kind": "equal"},
        "masking": {"share": 0.5},
        "epochs": 1,
        "batch_size": 8,
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"encoder": {"kind": "small"}, "stages": [stage]}))
    store = few_prepared.path
    train = [sys.executable, "-m", "ecgmtl", "train", "--config", "mine.yaml", "--data", store, "--out", "run"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*train, "--no-track"], cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    printed = done.stdout + done.stderr
    assert "equal weighting" in printed
    assert re.search(r"elderly \d\.\d+", printed)
