"""What a stage builds on: the one before it, an earlier one, none; teachers that are earlier stages."""

import pytest
import torch

from ecgmtl import checkpoint
from ecgmtl.checkpoint import CheckpointError
from ecgmtl.comparison.run import SILENT
from ecgmtl.config import parse_config
from ecgmtl.run_folder import RunFolder
from ecgmtl.schedule import Schedule
from ecgmtl.tracking import NoTracker

LABELS = {"trains": ["encoder", "classifier"], "losses": ["classification"], "epochs": 1, "batch_size": 4}
HEAD = {**LABELS, "trains": ["classifier"]}
DISTIL = {**HEAD, "losses": ["classification", "distillation"]}


def schedule(store, path, *stages):
    encoder = {"kind": "cnn", "widths": [8, 8]}
    config = parse_config({"encoder": encoder, "stages": list(stages), "precision": "fp32"}, "test")
    return Schedule.prepare(store, RunFolder.create(path, config, store.path), NoTracker(), SILENT)


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


def test_stages_teach_as_their_files_do(few_prepared, tmp_path):
    teachers = [{"name": "one", **LABELS}, {"name": "other", **LABELS, "start": "untrained"}]
    student = {"name": "student", **DISTIL, "start": "one"}
    named = schedule(few_prepared, tmp_path / "named", *teachers, {**student, "teachers": ["one", "other"]})
    learnt = named.train_stages(named.config.stages).state_dict()
    files = [str(named.results.file_of(name)) for name in ("one", "other")]
    for given, equal in ((files, True), (files[:1], False)):
        again = schedule(few_prepared, tmp_path / f"{equal}", *teachers, {**student, "teachers": given})
        assert same(again.train_stages(again.config.stages).state_dict(), learnt) == equal


def test_a_teacher_that_was_taken_away_is_missed_by_name(few_prepared, tmp_path):
    found = schedule(
        few_prepared, tmp_path / "run", {"name": "one", **LABELS}, {"name": "head", **HEAD, "start": "one"}
    )
    found.train_stages(found.config.stages[:1])
    found.results.file_of("one").unlink()
    with pytest.raises(CheckpointError, match="the model of stage one is gone"):
        found.weights_after("one")
