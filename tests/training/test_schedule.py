"""Order of stages: the weights a stage starts from, teachers that are earlier stages, and resumption."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data_prep.store.manifest import StoreError
from ecgmtl import checkpoint
from ecgmtl.checkpoint import CheckpointError
from ecgmtl.config.parse import ConfigError
from ecgmtl.config.run import parse_config
from ecgmtl.run_files import MODEL
from ecgmtl.tracking.tracker import NoTracker
from ecgmtl.training.errors import TrainingError
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.record import SILENT
from ecgmtl.training.schedule import Schedule

LABELS = {"trains": ["encoder", "classifier"], "losses": ["classification"], "epochs": 1, "batch_size": 4}
HEAD = {**LABELS, "trains": ["classifier"]}
DISTIL = {**HEAD, "losses": ["classification", "distillation"]}


def schedule(store, path, *stages):
    encoder = {"kind": "cnn", "widths": [8, 8]}
    config = parse_config({"encoder": encoder, "stages": list(stages), "precision": "fp32"}, "test")
    return Schedule.prepare(store, RunFolder.create(path, config, store.path), NoTracker(), SILENT)


def with_record(run, **changes):
    return replace(run, record=replace(run.record, **changes))


def interrupt_after(n_steps):
    steps = iter(range(n_steps))

    def advance():
        if next(steps, None) is None:
            raise KeyboardInterrupt

    return advance


def encoder_of(state):
    return {name: value for name, value in state.items() if name.startswith("encoder.")}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_stage_starts_from_the_weights_of_the_stage_it_names(few_prepared, tmp_path):
    first, second = {"name": "first", **LABELS}, {"name": "second", **LABELS}
    for start, expected in ((None, "second"), ("first", "first"), ("untrained", "untrained")):
        run = schedule(few_prepared, tmp_path / str(start), first, second, {"name": "head", **HEAD, "start": start})
        encoder = encoder_of(run.train_stages(run.config.stages).state_dict())
        starts = {"untrained": run.new_model().state_dict()} | {
            name: checkpoint.read(run.results.file_of(name))[0] for name in ("first", "second")
        }
        assert {name for name, state in starts.items() if same(encoder, state)} == {expected}


def test_labels_of_a_single_class_are_refused_before_the_first_step(few_prepared, tmp_path):
    pretrain = {"name": "pretrain", "losses": ["reconstruction"], "trains": ["encoder", "decoder"], "epochs": 1}
    run = schedule(few_prepared, tmp_path / "run", pretrain, {"name": "labels", **LABELS})
    for name in ("train", "validation"):
        split = getattr(run, name)
        alike = replace(run, **{name: replace(split, labels=torch.zeros_like(split.labels))})
        with pytest.raises(StoreError, match=f"in the split '{name}'"):
            alike.run()
    assert not (tmp_path / "run/history.jsonl").exists()
    alike.require_classes(run.config.stages[:1])


def test_a_model_that_never_learned_to_classify_is_not_registered(few_prepared, tmp_path):
    pretrain = {"name": "pretrain", "losses": ["reconstruction"], "trains": ["encoder", "decoder"], "epochs": 1}
    run = schedule(few_prepared, tmp_path / "run", pretrain, {"name": "labels", **LABELS})
    with pytest.raises(ConfigError, match="--register ecg: the model after stage pretrain has not learned to classify"):
        run.run("pretrain", register="ecg")
    assert not (tmp_path / "run/history.jsonl").exists()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/ecg@champion", "registered: models:/ecg@champion"),
        (None, "not registered; try again with: ecgmtl train --resume RUN --register ecg"),
    ],
)
def test_a_run_reports_whether_its_classifier_is_registered(few_prepared, tmp_path, monkeypatch, uri, message):
    messages = []
    monkeypatch.setattr(NoTracker, "register_model", lambda tracker, name: uri)
    run = schedule(few_prepared, tmp_path / "run", {"name": "labels", **LABELS})
    with_record(run, progress=SILENT._replace(say=messages.append)).register("ecg")
    assert messages == [message.replace("RUN", str(tmp_path / "run"))]


def test_stages_and_checkpoint_files_are_equivalent_teachers(few_prepared, tmp_path):
    teachers = [{"name": "one", **LABELS}, {"name": "other", **LABELS, "start": "untrained"}]
    student = {"name": "student", **DISTIL, "start": "one"}
    named = schedule(few_prepared, tmp_path / "named", *teachers, {**student, "teachers": ["one", "other"]})
    expected = named.train_stages(named.config.stages).state_dict()
    files = [str(named.results.file_of(name)) for name in ("one", "other")]
    run = RunFolder.create(tmp_path / "elsewhere/run", named.config, few_prepared.path)
    files[1] = str(Path(files[1]).rename(run.path / MODEL).parent)  # the folder of a run stands for its model
    for teacher_files, equal in ((files, True), (files[:1], False)):
        again = schedule(few_prepared, tmp_path / f"{equal}", *teachers, {**student, "teachers": teacher_files})
        assert same(again.train_stages(again.config.stages).state_dict(), expected) == equal


def test_a_missing_model_of_a_stage_is_named(few_prepared, tmp_path):
    run = schedule(few_prepared, tmp_path / "run", {"name": "one", **LABELS}, {"name": "head", **HEAD, "start": "one"})
    run.train_stages(run.config.stages[:1])
    run.results.file_of("one").unlink()
    with pytest.raises(CheckpointError, match="the model of stage one is missing"):
        run.weights_after("one")


@pytest.mark.parametrize("other", [{}, {"data_sha256": "of other data"}])
def test_an_interrupted_stage_resumes_with_the_same_data_and_restarts_with_other_data(few_prepared, tmp_path, other):
    stage = {"name": "labels", **LABELS, "epochs": 2}
    whole = schedule(few_prepared, tmp_path / "whole/run", stage)
    expected = whole.train_stages(whole.config.stages).state_dict()
    interrupted, messages, begun = schedule(few_prepared, tmp_path / "cut/run", stage), [], []
    n_batches = len(interrupted.train) // 4
    advance = interrupt_after(n_batches + 1)
    with pytest.raises(KeyboardInterrupt):
        with_record(interrupted, progress=SILENT._replace(advance=advance)).train_stages(interrupted.config.stages)
    progress = SILENT._replace(say=messages.append, begin=lambda *arguments: begun.append(arguments))
    again = with_record(interrupted, progress=progress, **other)
    assert same(again.train_stages(again.config.stages).state_dict(), expected)
    assert [line.epoch for line in again.record.folder.history.read()] == [0, 1]
    assert ("starts again" in " ".join(messages)) == bool(other)
    assert begun == [(interrupted.config.stages, 0, 2 * n_batches, 0 if other else n_batches)]


def test_a_run_whose_history_lacks_a_finished_stage_is_not_resumed(few_prepared, tmp_path):
    run = schedule(few_prepared, tmp_path / "runs/run", {"name": "one", **LABELS}, {"name": "two", **LABELS})
    run.train_stages(run.config.stages)
    lines = run.record.folder.history.path.read_text().splitlines(keepends=True)
    for text in ("", lines[0]):
        run.record.folder.history.path.write_text(text)
        with pytest.raises(ConfigError, match=r"history\.jsonl: lacks epoch 1 of stage 'two', which was trained"):
            run.run()
    run.record.folder.history.path.unlink()
    run.run()


def test_a_run_is_resumed_again_after_its_history_was_deleted(few_prepared, tmp_path):
    stages = {"name": "one", **LABELS}, {"name": "two", **LABELS, "epochs": 3}
    run = schedule(few_prepared, tmp_path / "runs/run", *stages)
    run.train_stages(run.config.stages[:1])
    run.record.folder.history.path.unlink()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            with_record(run, progress=SILENT._replace(advance=interrupt_after(len(run.train) // 4))).run()
    run.run()
    assert [(line.stage, line.epoch) for line in run.record.folder.history.read()] == [("two", i) for i in range(3)]


def test_a_resumed_run_keeps_its_threads_and_its_precision(few_prepared, tmp_path):
    run = schedule(few_prepared, tmp_path / "run", {"name": "labels", **LABELS})
    facts = run.record.folder.facts
    expected = {"threads": 1, "precision": "fp32", "device": run.train.device.type}
    assert facts.computes.items() >= expected.items()
    run.record.folder.update_facts(computes={**facts.computes, "threads": 2, "precision": "bf16"})
    messages = []
    again = Schedule.prepare(few_prepared, run.record.folder, NoTracker(), SILENT._replace(say=messages.append))
    assert (torch.get_num_threads(), again.precision) == (2, "bf16")
    assert messages == ["continues with 2 threads in bf16, with which the run started"]


def test_other_versions_than_those_of_the_start_are_reported(few_prepared, tmp_path, monkeypatch):
    run = schedule(few_prepared, tmp_path / "run", {"name": "labels", **LABELS})
    run.run()
    facts, messages = run.record.folder.facts, []
    start = {**facts.computes, "instructions": "DEFAULT", "versions": "torch 1.0, numpy 2.0"}
    run.record.folder.update_facts(computes=start)
    monkeypatch.setattr("ecgmtl.training.schedule.versions", lambda: "torch 3.0, numpy 2.0")
    again = Schedule.prepare(few_prepared, run.record.folder, NoTracker(), SILENT._replace(say=messages.append))
    again.train_stages(again.config.stages)
    instructions = torch.backends.cpu.get_cpu_capability()
    first = f"the run started with torch 1.0 instead of 3.0, DEFAULT instead of {instructions}: its weights may differ"
    assert messages[0] == first
    assert "(same settings, data and code; trained with python " in messages[1]


def test_a_run_without_enough_disk_space_is_refused_before_it_starts(few_prepared, tmp_path, monkeypatch):
    run = schedule(few_prepared, tmp_path / "run", {"name": "labels", **LABELS})
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(
        TrainingError, match=r"/run: the run needs .* MB for its states, models and pictures; 0.0 MB are free"
    ):
        run.run()


def test_stages_that_train_again_need_the_room_of_their_models_too(few_prepared, tmp_path, monkeypatch):
    run = schedule(few_prepared, tmp_path / "run", {"name": "first", **LABELS}, {"name": "second", **LABELS})
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)

    def needed(schedule):
        finished = schedule.finished(schedule.config.stages)
        with pytest.raises(TrainingError) as refusal:
            schedule.require_room([stage for stage in schedule.config.stages if stage.name not in finished])
        return re.search(r"needs ([\d.]+) MB", str(refusal.value))[1]

    untrained = needed(run)
    run.train_stages(run.config.stages)
    assert needed(run) < untrained
    assert needed(with_record(run, data_sha256="other")) == untrained


def test_the_lineage_of_a_model_has_the_stages_that_trained_its_weights(few_prepared, tmp_path):
    reconstruct = {**LABELS, "trains": ["encoder", "decoder"], "losses": ["reconstruction"]}
    stages = [
        {"name": "pretrain", **reconstruct},
        {"name": "read", **LABELS},
        {"name": "anew", **reconstruct, "start": "untrained"},
        {"name": "more", **reconstruct},
        {"name": "head", **HEAD, "start": "pretrain"},
    ]
    run = schedule(few_prepared, tmp_path / "run", *stages)
    names = {stage["name"]: [s.name for s in run.config.lineage(stage["name"])] for stage in stages}
    assert names == {
        "pretrain": ["pretrain"],
        "read": ["pretrain", "read"],
        "anew": ["anew"],
        "more": ["anew", "more"],
        "head": ["pretrain", "head"],
    }
    made = checkpoint.load(run.run("more"))
    assert (made.classifies, len(made.maskings)) == (False, 2)
    assert made.calibration.slope == (1.0,) * len(made.label_names)


def test_heads_of_later_stages_change_the_key_of_an_earlier_stage(few_prepared, tmp_path):
    first, second = {"name": "first", **LABELS}, {"name": "second", **LABELS}
    latent = second | {"losses": ["classification", "latent"], "trains": ["encoder", "classifier", "predictor"]}
    for name, later in (("without", second), ("with", latent)):
        run = schedule(few_prepared, tmp_path / name, first, later)
        run.train_stages(run.config.stages)
        assert (run.record.folder.path / "stages/0-first" / MODEL).is_file()
