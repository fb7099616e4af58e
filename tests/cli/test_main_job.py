"""The main job from end to end on a few artificial ECGs: prepare, train, kill, resume, evaluate, predict, export."""

import contextlib
import json
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from data_prep.preprocess import Preprocess
from data_prep.store.prepare import prepare
from data_prep.synthetic.folder import write_ptbxl
from ecgmtl import checkpoint
from ecgmtl.cli import app
from tests.commands import EPOCHS, ROOT, SMALL, start

GOLDEN = ROOT / "tests/golden/quick.json"
MAKES_GOLDEN = "python -m pytest tests/cli/test_main_job.py -k golden --write-golden"
GOLDEN_TOLERANCE = 2e-2
"""Relative. Another make of processor moves so short a run by 1.2 %; the instruction sets of one make (none, AVX2,
AVX-512) and two threads by 1e-6."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A working folder with artificial records and their prepared folder in it."""
    place = tmp_path_factory.mktemp("work")
    write_ptbxl(place / "records", 120, seed=0)
    prepare(place / "records", place / "store", Preprocess(), "superdiagnostic")
    return place


def ecgmtl(folder, *arguments, code=0):
    """What the command says, run in this process, which has loaded all that it needs."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, [*map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="session")
def trained(folder):
    """A run of all three stages, never interrupted."""
    torch.set_num_threads(1)  # as in the processes that are interrupted
    ecgmtl(folder, "train", "--data", "store", "--out", "runs/whole", "--no-track", *SMALL)
    return folder / "runs/whole/model.safetensors"


def test_a_run_writes_its_model_and_reports(trained):
    names = {path.name for path in trained.parent.iterdir()}
    assert {"model.safetensors", "config.yaml", "history.jsonl", "model_card.md", "training.png"} <= names
    history = [json.loads(line) for line in (trained.parent / "history.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in history] == ["pretrain"] * 2 + ["joint"] * 3 + ["decay"]
    figures = json.loads((trained.parent / "validation/metrics.json").read_text())
    assert figures


def figures(run):
    """Losses, weights and validation figures of each epoch, and the headlines of the report."""
    epochs = {}
    for line in map(json.loads, (run / "history.jsonl").read_text().splitlines()):
        kept = [name for name in line if "loss." in name or "weight." in name or name.endswith(("auroc", "rmse_mv"))]
        epochs[f"{line['stage']} {line['epoch']}"] = {name: line[name] for name in kept}
    report = json.loads((run / "validation/metrics.json").read_text())
    auroc = report["classification"]["headline"]["macro_auroc"]["value"]
    return epochs | {"report": {"macro_auroc": auroc, "rmse_mv": report["reconstruction"]["overall"]["rmse_mv"]}}


def test_a_small_quick_run_gives_the_golden_figures(trained, request):
    found = figures(trained.parent)
    if request.config.getoption("write_golden"):
        GOLDEN.write_text(json.dumps({"made by": MAKES_GOLDEN, "figures": found}, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())["figures"]
    assert list(found) == list(golden)
    for name, wanted in golden.items():
        assert found[name] == pytest.approx(wanted, rel=GOLDEN_TOLERANCE), name


def wait_for_epoch(run, epoch):
    history = run / "history.jsonl"
    deadline = time.monotonic() + 120
    while not history.is_file() or len(history.read_text().splitlines()) < epoch:
        assert time.monotonic() < deadline, "no epoch was finished in two minutes"
        time.sleep(0.01)


@pytest.mark.slow
def test_a_run_that_is_interrupted_in_each_way_resumes_bit_for_bit(folder, trained, tmp_path):
    run = tmp_path / "runs/cut"
    begin, resume = ("--data", "store", "--out", run, *SMALL), ("--resume", run)
    for how, code, epoch in ((signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 2), (signal.SIGKILL, -9, 3)):
        process = start(folder, "train", *(begin if epoch == 1 else resume), "--no-track")
        wait_for_epoch(run, epoch)
        process.send_signal(how)
        err = process.communicate(timeout=60)[1]
        assert process.returncode == code, err
        if code > 0:
            assert f"ecgmtl train --resume {run}" in err
        assert not (run / "model.safetensors").exists()
    ecgmtl(folder, "train", "--resume", run, "--no-track")
    whole, resumed = (checkpoint.load(path).model.state_dict() for path in (trained, run / "model.safetensors"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in lines] == EPOCHS


def test_an_earlier_stage_is_loaded_from_its_checkpoint(folder, trained):
    told = ecgmtl(folder, "train", "--data", "store", "--out", "runs/again", "--stage", "joint", "--no-track", *SMALL)
    assert "stage pretrain: loaded from runs/whole/stages/0-pretrain/model.safetensors" in told
    assert "stage joint: loaded from" in told


@pytest.mark.slow
def test_a_forest_is_added_to_a_trained_network(folder, trained):
    told = ecgmtl(
        folder, "train", "--data", "store", "--out", "runs/forest", "--no-track", *SMALL, "--set", "forest={n_trees: 5}"
    )
    assert "stage decay: loaded from" in told
    assert "training boosted trees for 5 labels" in told
    network, both = (checkpoint.load(folder / run).model for run in (trained, "runs/forest/model.safetensors"))
    assert all(torch.equal(value, both.state_dict()[name]) for name, value in network.state_dict().items())
    assert both.forest.value.shape[:3] == (2, 5, 5)
    card = (folder / "runs/forest/model_card.md").read_text()
    assert "boosted trees beside it" in card
    files = sorted((folder / "records/records100/00000").glob("0000?_lr.hea"))
    predicted = ecgmtl(folder, "predict", "runs/forest/model.safetensors", *files, "--out", "forest.csv")
    assert "9 records predicted, 0 failed" in predicted


def test_other_settings_train_again(folder, trained):
    told = ecgmtl(
        folder, "train", "--data", "store", "--out", "runs/seed1", "--stage", "pretrain", "--no-track", *SMALL,
        "--set", "seed=1",
    )  # fmt: skip
    assert "loaded from" not in told


def test_evaluate_measures_the_test_split(folder, trained):
    told = ecgmtl(folder, "evaluate", trained.parent, "--data", "store", "--split", "test", "--out", "report")
    assert "AUROC" in told
    assert (folder / "report/reconstruction.png").stat().st_size > 10_000


def test_predict_continues_after_a_bad_file(folder, trained):
    bad = folder / "bad.hea"
    bad.write_text("bad 12 100 1000\nbad.dat 16 1000/mV 16 0 0 0 0 I\n")
    good = sorted((folder / "records/records100/00000").glob("0000[1-5]_lr.hea"))
    told = ecgmtl(folder, "predict", trained.parent, *good[:2], bad, *good[2:], "--out", "p.csv", code=3)
    assert "bad.hea" in told
    rows = (folder / "p.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["ok", "ok", "failed", "ok", "ok", "ok"]


def test_predict_writes_a_report_that_is_not_taken_for_an_input(folder, trained):
    (folder / "six").mkdir()
    for path in (folder / "records/records100/00000").glob("0000[1-6]_lr.*"):
        shutil.copy(path, folder / "six")
    report = ("--report", "six/report.html", "--report-details", 2)
    ecgmtl(folder, "predict", trained.parent, "six", *report)
    told = ecgmtl(folder, "predict", trained.parent, "six", *report)
    assert "not read" not in told
    assert (folder / "six/report.html").read_text().count('class="card"') == 6


def test_an_exported_classifier_predicts_the_same(folder, trained):
    ecgmtl(folder, "export", trained.parent, "--to", "onnx", "--out", "c.onnx", "--data", "store")
    files = sorted((folder / "records/records100/00000").glob("0001?_lr.hea"))
    for model, out in ((trained, "a.jsonl"), ("c.onnx", "b.jsonl")):
        ecgmtl(folder, "predict", model, *files, "--out", out)
    a, b = ([json.loads(line) for line in (folder / name).read_text().splitlines()] for name in ("a.jsonl", "b.jsonl"))
    labels = [key for key in a[0] if key.startswith("calibrated_")]
    np.testing.assert_allclose(*([[row[key] for key in labels] for row in rows] for rows in (a, b)), atol=1e-5)


def test_a_record_is_reconstructed_and_predicted(folder, trained):
    file = folder / "records/records100/00000/00001_lr"
    told = ecgmtl(folder, "reconstruct", trained.parent, file, "--from", "I,II,V2", "--out", "filled")
    assert "filled.hea: I, II, V2 measured; III, aVR, aVL, aVF derived; V1, V3, V4, V5, V6 reconstructed" in told
    assert "the model is not trained for this" in told
    assert "V1, V3, V4, V5 and V6 are reconstructed by a model" in ecgmtl(folder, "predict", trained, "filled")
    told = ecgmtl(folder, "reconstruct", trained, file, "--from", "I,II,V2", "--out", "filled.hea", code=1)
    assert "filled.hea exists already" in told


def test_evaluate_measures_given_leads_and_stress(folder, trained):
    told = ecgmtl(
        folder, "evaluate", trained, "--data", "store", "--split", "test", "--from", "I,II,V2", "--stress",
        "--out", "further",
    )  # fmt: skip
    assert "## Reconstruction from I, II, V2" in told
    assert "## Stress test" in told
    assert (folder / "further/stress.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_tracked_run_is_found_in_mlflow(folder, trained, migrated):
    shutil.copy(migrated, folder / "mlflow.db")
    shorter = ("--set", "stages.0.epochs=1", "--set", "stages.1.epochs=1")
    ecgmtl(folder, "train", "--data", "store", "--out", "runs/tracked", *SMALL, *shorter, "--set", "seed=3")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("ecgmtl").experiment_id])
    parent = next(run for run in runs if run.info.run_name == "tracked")
    assert {run.info.run_name for run in runs} == {"tracked", "pretrain", "joint", "decay"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert next(iter(parent.data.metrics)) == "final validation macro_auroc"
    assert parent.data.metrics["final validation macro_auroc"] > 0
    assert parent.data.params["stages.1.weighting.kind"] == "uncertainty"
    assert "registered: models:/ecg-classifier@champion" in ecgmtl(
        folder, "train", "--resume", "runs/tracked", "--register", "ecg-classifier"
    )
    assert len(client.search_runs([parent.info.experiment_id])) == len(runs)
    (model,) = client.search_logged_models([parent.info.experiment_id])
    assert client.get_model_version_by_alias("ecg-classifier", "champion").source == f"models:/{model.model_id}"
    assert "columns of one float32 tensor in this order: CD" in model.tags["mlflow.note.content"]
    assert "final validation macro_auroc" in {metric.key for metric in model.metrics}
    assert {metric.dataset_name for metric in model.metrics} == {"store"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "--set", "sed=1"], 1, "sed"),
        (
            ["train", "--config", "reconstruction", "--data", "store", "--stage", "joint"],
            1,
            "ecgmtl train --config quick --data store --stage joint",
        ),
        (["train", "--data", "store", "--config", "ptbx"], 1, "the shipped configs are ptbxl, "),
        (["train", "--data", "nowhere"], 1, "nowhere"),
        (
            ["train", "--data", "store", "--config", "quick", "--set", "preprocess.fs=500"],
            1,
            "or train with --set preprocess.fs=100",
        ),
        (["train", "--resume", "nowhere"], 1, "run.json"),
        (["data", "prepare", "nowhere", "out"], 1, "nowhere"),
        (["data", "prepare", "records", "store2", "--labels", "superdiagnostik"], 1, "superdiagnostic"),
        (["evaluate", "nothing.safetensors", "--data", "store"], 1, "nothing.safetensors"),
        (["predict", "nothing.onnx", "x.hea"], 1, "nothing.onnx"),
        (["predict", "runs/whole/model.safetensors", "empty"], 1, "no ECG file found"),
        (["predict", "runs/whole/model.safetensors", "x.hea", "--out", "p.xls"], 1, ".csv, .parquet, .jsonl"),
        (["predict", "runs/whole/model.safetensors", "x.csv", "--unit", "kV"], 2, "kV"),
        (["export", "runs/whole/model.safetensors", "--to", "tflite", "--out", "c"], 2, "onnx', 'pt2', 'mlflow"),
        (["evaluate", "runs/whole/model.safetensors", "--data", "store", "--from", "I,X"], 2, "unknown lead X"),
        (["reconstruct", "c.onnx", "x.hea", "--from", "I,II", "--out", "y"], 1, "only a checkpoint"),
        (["reconstruct", "runs/whole/model.safetensors", "x.hea", "--from", "aVF,V1", "--out", "y"], 2, "aVF alone"),
        (["reconstruct", "runs/whole/model.safetensors", "x.hea", "--from", "I,II", "--out", "y"], 1, "x.hea"),
        (["reconstruct", "runs/whole/model.safetensors", "records", "--from", "I,II", "--out", "y"], 1, "one record"),
        (["reconstruct", "empty", "x.hea", "--from", "I,II", "--out", "y"], 1, "empty: is neither a checkpoint"),
        (["convert", "empty", "wfdb"], 1, "empty: no ECG file found"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_a_wrong_command_line_is_answered_by_a_sentence(folder, trained, arguments, code, said):
    (folder / "empty").mkdir(exist_ok=True)
    told = ecgmtl(folder, *arguments, code=code)
    assert said in told
    assert "Traceback" not in told
