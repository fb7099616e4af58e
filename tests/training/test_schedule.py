"""What a stage builds on: the one before it, an earlier one, none; teachers that are earlier stages."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data_prep.store.manifest import StoreError
from ecgmtl import checkpoint
from ecgmtl.checkpoint import MODEL, CheckpointError
from ecgmtl.comparison.run import SILENT
from ecgmtl.config.run import ConfigError, parse_config
from ecgmtl.tracking.tracker import NoTracker
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.schedule import Schedule
from ecgmtl.training.stage import TrainingError

LABELS = {"trains": ["encoder", "classifier"], "losses": ["classification"], "epochs": 1, "batch_size": 4}
HEAD = {**LABELS, "trains": ["classifier"]}
DISTIL = {**HEAD, "losses": ["classification", "distillation"]}


def schedule(store, path, *stages):
    encoder = {"kind": "cnn", "widths": [8, 8]}
    config = parse_config({"encoder": encoder, "stages": list(stages), "precision": "fp32"}, "test")
    return Schedule.prepare(store, RunFolder.create(path, config, store.path), NoTracker(), SILENT)


def with_record(run, **changes):
    return replace(run, record=replace(run.record, **changes))


def encoder_of(state):
    return {name: value for name, value in state.items() if name.startswith("encoder.")}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_stage_starts_from_the_one_that_it_names(few_prepared, tmp_path):
    first, second = {"name": "first", **LABELS}, {"name": "second", **LABELS}
    for start, expected in ((None, "second"), ("first", "first"), ("untrained", "untrained")):
        found = schedule(few_prepared, tmp_path / str(start), first, second, {"name": "head", **HEAD, "start": start})
        encoder = encoder_of(found.train_stages(found.config.stages).state_dict())
        starts = {"untrained": found.new_model().state_dict()} | {
            name: checkpoint.read(found.results.file_of(name))[0] for name in ("first", "second")
        }
        assert {name for name, state in starts.items() if same(encoder, state)} == {expected}


def test_one_class_only_is_refused_before_the_first_step(few_prepared, tmp_path):
    pretrain = {"name": "pretrain", "losses": ["reconstruction"], "trains": ["encoder", "decoder"], "epochs": 1}
    found = schedule(few_prepared, tmp_path / "run", pretrain, {"name": "labels", **LABELS})
    for name in ("train", "validation"):
        split = getattr(found, name)
        alike = replace(found, **{name: replace(split, labels=torch.zeros_like(split.labels))})
        with pytest.raises(StoreError, match=f"in the split '{name}'"):
            alike.run()
    assert not (tmp_path / "run/history.jsonl").exists()
    alike.require_classes(found.config.stages[:1])


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
def test_a_run_says_whether_its_classifier_is_registered(few_prepared, tmp_path, monkeypatch, uri, message):
    messages = []
    monkeypatch.setattr(NoTracker, "register_model", lambda tracker, name: uri)
    run = schedule(few_prepared, tmp_path / "run", {"name": "labels", **LABELS})
    with_record(run, progress=SILENT._replace(say=messages.append)).register("ecg")
    assert messages == [message.replace("RUN", str(tmp_path / "run"))]


def test_stages_teach_as_their_files_do(few_prepared, tmp_path):
    teachers = [{"name": "one", **LABELS}, {"name": "other", **LABELS, "start": "untrained"}]
    student = {"name": "student", **DISTIL, "start": "one"}
    named = schedule(few_prepared, tmp_path / "named", *teachers, {**student, "teachers": ["one", "other"]})
    learned = named.train_stages(named.config.stages).state_dict()
    files = [str(named.results.file_of(name)) for name in ("one", "other")]
    run = RunFolder.create(tmp_path / "elsewhere/run", named.config, few_prepared.path)
    files[1] = str(Path(files[1]).rename(run.path / MODEL).parent)  # a run's folder is its model
    for given, equal in ((files, True), (files[:1], False)):
        again = schedule(few_prepared, tmp_path / f"{equal}", *teachers, {**student, "teachers": given})
        assert same(again.train_stages(again.config.stages).state_dict(), learned) == equal


def test_a_teacher_that_was_taken_away_is_missed_by_name(few_prepared, tmp_path):
    found = schedule(
        few_prepared, tmp_path / "run", {"name": "one", **LABELS}, {"name": "head", **HEAD, "start": "one"}
    )
    found.train_stages(found.config.stages[:1])
    found.results.file_of("one").unlink()
    with pytest.raises(CheckpointError, match="the model of stage one is missing"):
        found.weights_after("one")


@pytest.mark.parametrize("other", [{}, {"data_sha256": "of other data"}])
def test_what_was_interrupted_goes_on_where_data_and_code_are_the_same_and_begins_anew_elsewhere(
    few_prepared, tmp_path, other
):
    stage = {"name": "labels", **LABELS, "epochs": 2}
    whole = schedule(few_prepared, tmp_path / "whole/run", stage)
    learned = whole.train_stages(whole.config.stages).state_dict()
    cut, said, begun = schedule(few_prepared, tmp_path / "cut/run", stage), [], []
    n_batches = len(cut.train) // 4
    steps = iter(range(n_batches + 1))

    def advance():
        if next(steps, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_record(cut, progress=SILENT._replace(advance=advance)).train_stages(cut.config.stages)
    progress = SILENT._replace(say=said.append, begin=lambda *told: begun.append(told))
    again = with_record(cut, progress=progress, **other)
    assert same(again.train_stages(again.config.stages).state_dict(), learned)
    assert [line["epoch"] for line in again.record.folder.read_history()] == [0, 1]
    assert ("begins anew" in " ".join(said)) == bool(other)
    assert begun == [(cut.config.stages, 0, 2 * n_batches, 0 if other else n_batches)]


def test_a_resumed_run_keeps_its_threads_and_its_precision(few_prepared, tmp_path):
    run = schedule(few_prepared, tmp_path / "run", {"name": "labels", **LABELS})
    facts = run.record.folder.facts
    assert facts["computes"] == {"threads": 1, "precision": "fp32", "device": run.train.device.type}
    run.record.folder.write_facts({**facts, "computes": {**facts["computes"], "threads": 2, "precision": "bf16"}})
    said = []
    again = Schedule.prepare(few_prepared, run.record.folder, NoTracker(), SILENT._replace(say=said.append))
    assert (torch.get_num_threads(), again.precision) == (2, "bf16")
    assert said == ["goes on with 2 threads in bf16, as the run began"]


def test_a_stage_without_room_is_refused_before_it_begins(few_prepared, tmp_path, monkeypatch):
    run = schedule(few_prepared, tmp_path / "run", {"name": "labels", **LABELS})
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(
        TrainingError, match=r"stages/0-labels: a stage needs .* MB for its state and its model; 0.0 MB"
    ):
        run.train_stages(run.config.stages)


def test_a_model_is_what_the_stages_it_came_from_made_of_it(few_prepared, tmp_path):
    redraw = {**LABELS, "trains": ["encoder", "decoder"], "losses": ["reconstruction"]}
    stages = [
        {"name": "draw", **redraw},
        {"name": "read", **LABELS},
        {"name": "anew", **redraw, "start": "untrained"},
        {"name": "more", **redraw},
        {"name": "head", **HEAD, "start": "draw"},
    ]
    found = schedule(few_prepared, tmp_path / "run", *stages)
    names = {stage["name"]: [s.name for s in found.config.lineage(stage["name"])] for stage in stages}
    assert names == {
        "draw": ["draw"],
        "read": ["draw", "read"],
        "anew": ["anew"],
        "more": ["anew", "more"],
        "head": ["draw", "head"],
    }
    made = checkpoint.load(found.run("more"))
    assert (made.classifies, len(made.maskings)) == (False, 2)
    assert made.calibration.slope == (1.0,) * len(made.label_names)


def test_parts_that_a_later_stage_needs_make_another_model_of_an_earlier_one(few_prepared, tmp_path):
    first, second = {"name": "first", **LABELS}, {"name": "second", **LABELS}
    latent = second | {"losses": ["classification", "latent"], "trains": ["encoder", "classifier", "predictor"]}
    for name, later in (("without", second), ("with", latent)):
        found = schedule(few_prepared, tmp_path / name, first, later)
        found.train_stages(found.config.stages)
        assert (found.record.folder.path / "stages/0-first" / MODEL).is_file()
