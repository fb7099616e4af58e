"""What `ecgmtl train` trains where no config is named, and how it tells what it is doing."""

import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from ecgmtl.cli import app
from ecgmtl.cli.progress import RunProgress, stage_progress
from ecgmtl.cli.terminal import open_bar
from ecgmtl.cli.train import settings_of
from ecgmtl.config.run import Config, load_config
from ecgmtl.config.shipped import FOLDER
from ecgmtl.training.step import Learner


def test_real_records_are_trained_by_the_recipe_and_it_is_said(few_prepared, capsys):
    assert settings_of(None, ("seed=3",), few_prepared.path) == load_config(FOLDER / "ptbxl.yaml", ("seed=3",))
    assert "No --config: training the shipped recipe 'ptbxl'. --config NAME chooses another" in capsys.readouterr().out


def test_the_recipe_leaves_out_a_label_set_that_the_store_lacks(few_prepared, tmp_path, capsys):
    store = shutil.copytree(few_prepared.path, tmp_path / "store")
    manifest = json.loads((store / "manifest.json").read_text())
    del manifest["label_sets"]["all"], manifest["checksum"]
    (store / "manifest.json").write_text(json.dumps(manifest))
    found, recipe = settings_of(None, (), store), load_config(FOLDER / "ptbxl.yaml")
    assert f"without the label set all, which {store} does not have" in capsys.readouterr().out
    assert (found.auxiliary_labels, found.encoder, found.forest) == ((), recipe.encoder, recipe.forest)
    assert [(stage.trains, stage.losses) for stage in found.stages] == [
        (("encoder", "decoder"), ("reconstruction",)),
        (("encoder", "decoder", "classifier"), ("reconstruction", "classification")),
        (("encoder", "decoder", "classifier"), ("reconstruction", "classification")),
    ]
    assert [stage.views for stage in found.stages] == [{}, {"classification": "clean"}, {"classification": "clean"}]


def test_batches_that_do_not_fit_into_memory_are_halved_and_it_is_said(few_prepared, tmp_path, monkeypatch):
    step = Learner.step

    def step_in_little_memory(learner, batch, moment):
        if len(batch.labels) > 4 and moment.epoch == 1:
            allocator = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"
            raise RuntimeError(allocator if len(batch.labels) > 8 else "could not create a primitive")  # of oneDNN
        return step(learner, batch, moment)

    monkeypatch.setattr(Learner, "step", step_in_little_memory)
    (tmp_path / "c.yaml").write_text(
        "encoder: {kind: cnn, widths: [8, 8]}\nprecision: fp32\nstages:\n  - {name: labels, epochs: 2, batch_size: 16, "
        "losses: [classification], trains: [encoder, classifier]}\n"
    )
    words = [
        "train",
        "--config",
        tmp_path / "c.yaml",
        "--data",
        few_prepared.path,
        "--out",
        tmp_path / "run",
        "--no-track",
    ]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    for before, after in ((16, 8), (8, 4)):
        assert f"a batch of {before} records needs more memory than there is; the stage starts again" in done.output
        assert f"with batches of {after}, as" in done.output
    assert load_config(tmp_path / "run/config.yaml").stages[0].batch_size == 4
    history = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["steps"]) for line in history] == [(0, 5), (1, 5)]  # 22 records


def test_one_record_that_does_not_fit_into_memory_ends_the_training(few_prepared, tmp_path, monkeypatch):
    def step_without_memory(learner, batch, moment):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr(Learner, "step", step_without_memory)
    sets = ("--set", "stages.0.batch_size=2", "--set", "encoder.widths=[8, 8]", "--set", "precision=fp32")
    words = (
        "train",
        "--data",
        few_prepared.path,
        "--out",
        tmp_path / "run",
        "--no-track",
        "--stage",
        "pretrain",
        *sets,
    )
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 1
    assert "a batch of 1 record needs more memory than there is; end other programs, or choose a" in done.output


def test_artificial_records_are_trained_by_the_demonstration():
    assert settings_of(None, ("seed=3",), None) == Config(seed=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--register", "a/b"], "--register 'a/b': should be a name of letters"),
        (["--register", "ecg", "--no-track"], "--register needs MLflow"),
        (["--resume", "runs/mine", "--set", "seed=1"], "a resumed run has its own settings and data"),
    ],
)
def test_options_that_contradict_each_other_are_refused(arguments, message):
    result = CliRunner().invoke(app, ["train", *arguments])
    assert result.exit_code
    assert message in " ".join(re.sub(r"[│╭╰─╮╯]", "", result.output).split())


def test_a_line_tells_which_stage_of_the_run_begins_and_the_time_that_is_left(capsys):
    stages = Config().stages
    with stage_progress() as progress:
        progress.begin(stages, 1, 16, 15)
        progress.advance()
        progress.begin(stages, 2, 8, 0)
    assert capsys.readouterr().err.splitlines() == [
        "stage 2 of 3: joint: reconstruction + classification, uncertainty weighting, 8 epochs; "
        "trains encoder, decoder, classifier",
        "stage 3 of 3: decay: reconstruction + classification, decay weighting, 4 epochs; "
        "trains encoder, decoder, classifier; time left for the run: under a minute",
    ]


def test_a_bar_tells_the_same_on_a_terminal_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with open_bar() as bar:
        run = RunProgress(bar)
        run.begin(Config().stages, 2, 800, 0)
        run.advance()
        bar.bars.refresh()
        run.work("growing the forest", 1, 3)
        bar.bars.refresh()
    drawn = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "decay, stage 3 of 3; run: under a minute left ━" in drawn
    assert " 1/800 " in drawn
    assert "growing the forest ━" in drawn
