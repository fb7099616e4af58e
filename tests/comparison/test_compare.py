"""The comparison from end to end: three arms from two seeds on a few artificial ECGs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from typer.testing import CliRunner

from data_prep.preprocess import Preprocess
from data_prep.store.open import open_store
from data_prep.store.prepare import prepare
from ecgmtl.cli import app
from ecgmtl.comparison.arms import load_arm, load_arms
from ecgmtl.comparison.compare import compare
from ecgmtl.comparison.comparison import read_comparison
from ecgmtl.comparison.plan import Plan
from ecgmtl.comparison.results import read_result, result_path
from ecgmtl.comparison.run import ArmRun
from ecgmtl.comparison.truth import TRUTH, ComparisonError, read_truth
from ecgmtl.config.run import load_config
from ecgmtl.data.split import open_for
from ecgmtl.metrics.ranking import macro_auroc
from ecgmtl.tracking.store import import_mlflow
from ecgmtl.tracking.tracker import NoTracker
from ecgmtl.training.batches import Batches
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.history import History
from ecgmtl.training.record import SILENT
from ecgmtl.training.schedule import Schedule
from tests.comparisons import ARM_FILES, arms_beside_data

WITHOUT_PLOTS = pytest.mark.usefixtures("small_plots")
ARMS = ("single", "joint", "staged")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Working folder with arms and prepared data."""
    with arms_beside_data(tmp_path_factory.mktemp("compare"), ARM_FILES) as place:
        yield place


@pytest.fixture
def arms(place, tmp_path):
    """A copy of the arms, to add others to."""
    return shutil.copytree(place / "arms", tmp_path / "arms")


def plan(place, out, only=ARMS, seeds=2, overrides=(), arms="arms", **options):
    options = {"track": False, **options}
    return Plan(load_arms(place / arms, only, overrides), place / "store", out, seeds, **options)


def quiet(_text):
    pass


@pytest.fixture(scope="module")
def done(place):
    """A comparison that ran without interruption."""
    outcome = compare(plan(place, place / "done"), quiet)
    assert outcome == (place / "done/report.html", {})
    return place / "done"


@pytest.fixture
def again(done, tmp_path):
    """A copy of the finished comparison, on which `compare` is called again."""
    shutil.copytree(done, tmp_path / "done")
    return tmp_path / "done"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_seconds(path):
    tree = json.loads(path.read_text())
    return tree | {"curve": [{**point, "seconds": 0} for point in tree["curve"]]}


def test_every_arm_is_trained_with_every_seed_and_reported(done):
    arms = read_comparison(done).arms
    assert {arm: list(runs) for arm, runs in arms.items()} == {arm: [0, 1] for arm in ARMS}
    text = (done / "report.md").read_text()
    assert "3 ways of training (arms), 2 seeds each, 6 runs" in text
    assert all(f"| {arm} " in text for arm in ARMS)


def test_a_result_describes_the_final_model(done):
    truth = read_truth(done)
    for runs in read_comparison(done).arms.values():
        for run in runs.values():
            scores = [point.macro_auroc for point in run.curve if point.macro_auroc is not None]
            assert run.macro_auroc == pytest.approx(max(scores))  # the best of its epochs
            assert macro_auroc(run.scores, truth.labels) == pytest.approx(run.macro_auroc, abs=0.02)  # five digits


def test_a_curve_counts_all_training_records(done):
    comparison = read_comparison(done)
    for arm in ARMS:
        curve = comparison.arms[arm][0].curve
        # 80 records in the folds of training make five batches of 16, in both of two epochs
        assert [(point.step, point.samples_seen) for point in curve] == [(5, 80), (10, 160)]
        assert (np.diff([point.seconds for point in curve]) > 0).all()
    assert comparison.arms["staged"][0].curve[0].macro_auroc is None
    assert comparison.arms["joint"][0].curve[-1].encoder_passes == pytest.approx(10)


def test_an_arm_has_figures_of_the_tasks_it_learns(done):
    runs = {arm: runs[0] for arm, runs in read_comparison(done).arms.items()}
    assert runs["single"].reconstruction == {}
    assert 0 < runs["joint"].reconstruction["rmse_mv"] < 10
    assert "n_samples" not in runs["joint"].reconstruction
    assert set(runs["single"].mean_weights) == {"classification"}
    assert set(runs["joint"].mean_weights) == {"classification", "reconstruction"}
    assert {"cosine.reconstruction", "conflict_rate.reconstruction"} <= set(runs["joint"].diagnostics)


def test_a_second_call_trains_nothing_and_writes_the_same_report(place, again):
    before, messages = contents(again), []
    compare(plan(place, again), messages.append)
    assert messages == ["6 of 6 runs are already finished"]
    assert contents(again) == before


@WITHOUT_PLOTS
def test_only_missing_results_are_computed(place, done, again):
    result_path(again, "joint", 1).unlink()
    messages = []
    compare(plan(place, again), messages.append)
    assert messages[0] == "5 of 6 runs are already finished"
    assert messages[1].startswith("1/1 joint seed 1: macro AUROC 0.")
    assert contents(again)[Path("results/joint.1.json")] == contents(done)[Path("results/joint.1.json")]


@WITHOUT_PLOTS
def test_a_further_seed_is_added(place, again):
    before = contents(again)
    compare(plan(place, again, only=["single"], seeds=3), quiet)
    assert list(read_comparison(again).arms["single"]) == [0, 1, 2]
    after = contents(again)
    assert all(after[name] == content for name, content in before.items() if name.parts[0] in ("results", "runs"))


@WITHOUT_PLOTS
def test_an_interrupted_run_resumes_to_the_same_result(place, done, tmp_path, monkeypatch):
    def cut(history, line):
        add(history, line)
        if history.path.parent.name == "results-joint.0" and len(history.read()) == 2:
            raise SystemExit

    add, out = History.append, tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(History, "append", cut)
        with pytest.raises(SystemExit):
            compare(plan(place, out, ["single", "joint"], seeds=1), quiet)
    assert (out / "runs/results-joint.0/stages/0-main/state.pt").is_file()
    assert not result_path(out, "joint", 0).exists()
    compare(plan(place, out, ["single", "joint"], seeds=1), quiet)
    for arm in ("single", "joint"):
        assert without_seconds(result_path(out, arm, 0)) == without_seconds(result_path(done, arm, 0))


OTHERS = "about: Both.\nset: {stages.0.batch_size: 8}"


def test_other_settings_are_refused_by_name(place, arms, again):
    before = contents(again)
    (arms / "joint.yaml").write_text(OTHERS)
    with pytest.raises(ComparisonError, match=r"results/joint\.0\.json: made with different settings or data"):
        compare(plan(place, again, arms=arms), quiet)
    assert contents(again) == before


def test_a_started_run_with_other_settings_is_refused_by_name(place, arms, again):
    (arms / "joint.yaml").write_text(OTHERS)
    for path in (again / "results").iterdir():
        path.unlink()
    with pytest.raises(ComparisonError, match=r"runs/results-joint\.0: started with different settings; delete it"):
        compare(plan(place, again, arms=arms), quiet)


def test_other_records_are_refused_before_anything_is_written(place, again):
    prepare(place / "records", place / "rhythms", Preprocess(), "rhythm")
    before = contents(again)
    with pytest.raises(ComparisonError, match="holds a comparison on records or labels other than"):
        compare(plan(place, again)._replace(data=place / "rhythms"), quiet)
    assert contents(again) == before


@pytest.mark.parametrize(("key", "value"), [("labels", "rhythm"), ("validation_fold", 3)])
def test_arms_of_other_labels_or_records_are_refused(place, arms, tmp_path, key, value):
    (arms / "other.yaml").write_text(f"about: Other ones.\nset: {{{key}: {value}}}")
    with pytest.raises(ComparisonError, match=f"arm single: {key} differs from that of other"):
        compare(plan(place, tmp_path / "x", ["single", "other"], arms=arms), quiet)
    assert not (tmp_path / "x").exists()


def test_an_unwritable_folder_is_named(place, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ComparisonError, match="file: cannot be written"):
        compare(plan(place, tmp_path / "file"), quiet)


@WITHOUT_PLOTS
def test_a_failed_arm_is_reported_and_the_others_finish(place, tmp_path):
    messages = []
    outcome = compare(plan(place, tmp_path / "x", only=["single", "wild"], seeds=1), messages.append)
    assert list(outcome.failed) == ["wild seed 0"]
    assert "training diverged: a loss or its gradient is not finite" in outcome.failed["wild seed 0"]
    assert messages[1].startswith("2/2 wild seed 0: failed: stage 'main', epoch 1")
    assert [path.name for path in (tmp_path / "x/results").iterdir()] == ["single.0.json"]
    assert outcome.report.is_file()


@WITHOUT_PLOTS
def test_an_arm_without_its_teacher_does_not_stop_the_others(place, arms, tmp_path):
    (arms / "taught.yaml").write_text(
        "about: Taught.\nset: {stages.0.losses: [distillation], stages.0.trains: [encoder, classifier], "
        "stages.0.teachers: [nowhere.safetensors]}"
    )
    outcome = compare(plan(place, tmp_path / "x", only=["single", "taught"], seeds=1, arms=arms), quiet)
    assert list(outcome.failed) == ["taught seed 0"]
    assert "nowhere.safetensors: no such file" in outcome.failed["taught seed 0"]
    assert [path.name for path in (tmp_path / "x/results").iterdir()] == ["single.0.json"]


@WITHOUT_PLOTS
def test_arms_of_another_base_are_refused(place, arms, again):
    compare(plan(place, again, ["single"], arms=arms), quiet)
    for words in (["label_share=0.5"], ["stages.0.epochs=3"]):
        with pytest.raises(ComparisonError, match=r"runs that started from a different _base.yaml"):
            compare(plan(place, again)._replace(arms=load_arms(arms, ["joint"], words)), quiet)
    compare(plan(place, again)._replace(arms=load_arms(arms, ["joint"], ["label_share=1.00"])), quiet)


def test_a_comparison_whose_reference_failed_says_so(place, arms, tmp_path):
    (arms / "_claims.yaml").write_text("reference: wild")
    with pytest.raises(ComparisonError, match=r"no run of arm 'wild'.*found no run at all"):
        compare(plan(place, tmp_path / "x", only=["wild"], seeds=1, arms=arms), quiet)


def test_arms_without_their_reference_are_refused_before_any_is_trained(place, arms, tmp_path):
    expected = r"the arms joint, staged .* 'single', which is not among them\. Add it, or name .*`reference: joint`"
    with pytest.raises(ComparisonError, match=expected):
        compare(plan(place, tmp_path / "x", only=["joint", "staged"], arms=arms), quiet)
    assert not (tmp_path / "x").exists()


@WITHOUT_PLOTS
def test_tuning_tries_settings_and_uses_the_best(place, tmp_path):
    out, arm = tmp_path / "tuned", load_arm(place / "arms/single.yaml")
    assert not compare(plan(place, out, ["single"], seeds=1, tune=3), quiet).failed
    run = read_result(result_path(out, "single", 0))
    assert [one.settings for one in run.tuning] == arm.settings_to_try(3)
    trials = [read_result(out / f"tuning/single.{number}.json") for number in range(3)]
    assert [one.score for one in run.tuning] == [trial.macro_auroc for trial in trials]
    best = max(run.tuning, key=lambda one: one.score)
    used = load_config(out / "runs/results-single.0/config.yaml").stages[0].optimizer.lr
    assert used == best.settings.get("stages.*.optimizer.lr", arm.config.stages[0].optimizer.lr)
    assert "| single |     3 |" in (out / "report.md").read_text()


@WITHOUT_PLOTS
def test_tuning_does_not_look_at_the_evaluated_records(place, tmp_path):
    store = open_store(place / "store")
    for fold in (None, 3):
        out = tmp_path / f"fold{fold}"
        tuned = plan(place, out, ["single"], seeds=1, tune=1, folds=() if fold is None else (fold,))
        assert not compare(tuned, quiet).failed
        (trial,) = [read_result(path) for path in (out / "tuning").iterdir()]
        evaluated = store.records["split"] == "validation" if fold is None else store.records["fold"] == fold
        usable = store.records["split"] != "test"
        run = RunFolder.reopen(next((out / "runs").glob("tuning-*")))
        schedule = Schedule.prepare(open_for(place / "store", Preprocess(), fold), run, NoTracker(), SILENT)
        names = set(store.records.loc[usable & ~evaluated, "name"])
        assert {*schedule.train.names, *schedule.validation.names} == names
        assert not set(schedule.train.patients) & set(schedule.validation.patients)
        labels = schedule.validation.labels.numpy()
        assert trial.macro_auroc == pytest.approx(macro_auroc(trial.scores, labels), abs=1e-6)


@WITHOUT_PLOTS
def test_failed_trials_are_distinguished_from_failed_runs(place, arms, tmp_path):
    (arms / "wilder.yaml").write_text(ARM_FILES["wild"] + "\nsearch: {stages.*.optimizer.lr: [1.0e+29, 1.0e+30]}")
    outcome = compare(plan(place, tmp_path / "x", ["single", "wilder"], seeds=1, tune=1, arms=arms), quiet)
    assert list(outcome.failed) == ["wilder trial 0", "wilder seed 0"]


@WITHOUT_PLOTS
def test_pretraining_is_shared_per_seed_and_counts_for_each_arm(place, arms, again):
    (arms / "longer.yaml").write_text(
        ARM_FILES["staged"].replace(
            "[classification], batch_size: 16, epochs: 1", "[classification], batch_size: 16, epochs: 2"
        )
    )
    compare(plan(place, again, ["longer"], seeds=1, arms=arms), quiet)
    assert not list((again / "runs/results-longer.0/stages").glob("*pretrain*/model.safetensors"))
    first, second = (read_result(result_path(again, arm, 0)).curve[0] for arm in ("staged", "longer"))
    assert first == second


@pytest.mark.slow
@WITHOUT_PLOTS
def test_mlflow_has_one_parent_run_with_nested_runs(place, done, migrated, tmp_path, monkeypatch):
    shutil.copy(migrated, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    out = tmp_path / "tracked"
    compare(plan(place, out, ["single"], seeds=1, track=True), quiet)
    facts = (out / "comparison.json").read_bytes()
    compare(plan(place, out, ["single"], seeds=1), quiet)
    assert (out / "comparison.json").read_bytes() == facts  # a call without logging keeps the facts of earlier calls
    compare(plan(place, out, ["single", "joint"], seeds=1, track=True), quiet)
    client = import_mlflow().MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("ecgmtl").experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    parent = json.loads(facts)["mlflow_run"]
    nested = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent}
    assert set(nested) == {"results-single.0", "results-joint.0"}
    assert sorted(run.info.run_name for run in runs) == ["compare-tracked", "main", "main", *sorted(nested)]
    result = read_result(result_path(out, "joint", 0))
    assert nested["results-joint.0"].data.metrics["final validation macro_auroc"] == result.macro_auroc
    assert nested["results-joint.0"].data.tags["arm"] == "joint"
    kept = {file.path for file in client.list_artifacts(parent, "report")}
    assert kept == {"report/report.md", "report/report.html", "report/pictures", "report/tables"}


def schedule(place, arm, seed, path):
    config = load_arm(place / "arms" / f"{arm}.yaml").with_settings({"seed": seed}, arm)
    store = open_for(place / "store", config.preprocess, config.validation_fold)
    return Schedule.prepare(store, RunFolder.create(path, config, place / "store"), NoTracker(), SILENT)


def test_arms_with_the_same_seed_start_with_the_same_weights_and_records(place, tmp_path):
    weights, orders = [], []
    for number, (arm, seed) in enumerate([("single", 1), ("joint", 1), ("joint", 2)]):
        run = schedule(place, arm, seed, tmp_path / str(number))
        weights.append(run.new_model().state_dict())
        batches = Batches(run.train, run.config.stages[0], (seed, 0))
        orders.append([torch.cat(batches.order(batches.seed_epoch(epoch).order)) for epoch in range(2)])
    same, other = ([torch.equal(weights[1][name], value) for name, value in weights[k].items()] for k in (0, 2))
    assert all(same)
    assert not all(other)
    assert all(map(torch.equal, orders[0], orders[1]))
    assert not any(map(torch.equal, orders[1], orders[2]))
    assert not torch.equal(*orders[0])


def wait_for(what, seconds=120):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@WITHOUT_PLOTS
@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_a_killed_comparison_leaves_no_process_and_can_resume(place, done, tmp_path, how, code):
    out, words = tmp_path / "x", ["--seeds", "1", "--only", "single", "--only", "joint", "--jobs", "2", "--no-track"]
    command = [sys.executable, "-m", "ecgmtl", "compare", "arms", "--data", "store", "--out", str(out), *words]
    process = subprocess.Popen(command, cwd=place, env={**os.environ, "OMP_NUM_THREADS": "1"})
    wait_for(lambda: any(line.stat().st_size for line in out.glob("runs/*/history.jsonl")))
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    assert process.wait(20) == code
    assert not psutil.wait_procs(children, timeout=20)[1]
    compare(plan(place, out, ["single", "joint"], seeds=1), quiet)
    for arm in ("single", "joint"):
        found, whole = ([point.loss for point in read_result(result_path(at, arm, 0)).curve] for at in (out, done))
        assert found == pytest.approx(whole, rel=1e-3)  # the interrupted run had another number of threads


@pytest.mark.slow
@WITHOUT_PLOTS
def test_two_parallel_runs_give_the_same_results(place, done, tmp_path):
    compare(plan(place, tmp_path / "x", only=["single", "joint"], jobs=2), quiet)
    for arm in ("single", "joint"):
        for seed in range(2):
            pair = [without_seconds(result_path(folder, arm, seed)) for folder in (done, tmp_path / "x")]
            assert pair[0] == pair[1]


@pytest.fixture
def ecgmtl(place):
    """Return a function that runs the command line in this process and returns exit code and output."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments):
        found = CliRunner().invoke(app, ["compare", *map(str, arguments)])
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return found.exit_code, found.output

    yield run
    signal.signal(signal.SIGTERM, handler)


@WITHOUT_PLOTS
def test_the_command_resumes_and_names_the_report(ecgmtl, place, again):
    code, messages = ecgmtl(place / "arms", "--data", place / "store", "--out", again, "--seeds", 2, "--no-track",
                        "--only", "single", "--only", "joint", "--only", "staged")  # fmt: skip
    assert (code, messages) == (0, f"6 of 6 runs are already finished\nreport: {again}/report.html\n")


@WITHOUT_PLOTS
def test_the_command_exits_with_code_3_if_an_arm_failed(ecgmtl, place, again):
    code, messages = ecgmtl(place / "arms", "--data", place / "store", "--out", again, "--seeds", 1, "--no-track",
                        "--only", "single", "--only", "wild")  # fmt: skip
    assert code == 3
    assert "\nwild seed 0: stage 'main', epoch 1" in messages
    assert messages.endswith(f"report: {again}/report.html\n")


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["nowhere", "--data", "store"], "nowhere: no such folder"),
        (["arms", "--data", "nowhere"], "nowhere"),
        (["arms", "--data", "store", "--only", "jiont"], "arms: there is no arm jiont; found joint"),
        (
            ["arms", "--data", "store", "--set", "preprocess.fs=500"],
            "or train with --set preprocess.fs=100",
        ),
        (["arms", "--data", "store", "--set", "labels=rythm"], "no label set 'rythm'"),
        (["arms", "--data", "store", "--set", "sed=1"], "sed: there is no such setting"),
    ],
)
def test_a_wrong_call_gives_an_error_message(ecgmtl, place, arguments, messages):
    code, output = ecgmtl(*arguments, "--out", "bad", "--no-track")
    assert code == 1
    assert messages in output
    assert output.count("\n") == 1
    assert not (place / "bad").exists()


def test_a_result_with_another_identity_is_refused(place, done):
    arm = load_arm(place / "arms/single.yaml")
    path = result_path(done, "single", 0)
    rest = (place / "store", done, path, "another", 1, None, ())
    with pytest.raises(ComparisonError, match="different settings or data"):
        ArmRun("single", 0, arm.file, arm.config, *rest).is_done()
    assert (done / TRUTH).is_file()
