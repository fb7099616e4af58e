"""Shipped configs train real steps of each of their stages, on artificial ECGs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ecgmtl.comparison.arms import load_arm
from ecgmtl.config.run import load_config
from ecgmtl.tasks import build_task
from ecgmtl.tracking.tracker import open_tracker
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.record import SILENT
from ecgmtl.training.schedule import Schedule

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = [path for path in sorted(CONFIGS.rglob("*.yaml")) if not path.name.startswith("_")]


def shortened(path):
    """The config of a file, eager, with one epoch a stage, of few steps: more than one, for the rate of the first is 0.

    An epoch has two steps, or seven where the tasks take turns. A forest has few trees.
    """
    config = load_config(path) if path.parent == CONFIGS else load_arm(path).config
    sizes = [2 if stage.weighting.kind == "alternating" else 5 for stage in config.stages]
    stages = [
        stage.model_copy(update={"epochs": 1, "batch_size": size})
        for stage, size in zip(config.stages, sizes, strict=True)
    ]
    forest = config.forest and config.forest.model_copy(update={"n_trees": 3})
    return config.model_copy(update={"stages": tuple(stages), "compile": False, "forest": forest})


def structure(value):
    """The settings without names and sizes. A number is 0 or not, since 0 often switches a part off."""
    if isinstance(value, dict):
        return {key: structure(each) for key, each in value.items() if key != "name"}
    if isinstance(value, list):
        return [structure(each) for each in value]
    return value if value is None or isinstance(value, str | bool) else value != 0


def of_each_structure(paths):
    """The first config of each structure. The others of the same one run the same code with other numbers."""
    first = {}
    for path in paths:
        first.setdefault(json.dumps(structure(shortened(path).model_dump(mode="json"))), path)
    return list(first.values())


def part_of(name):
    """What `trains` calls the part of the model to which a tensor belongs."""
    part, head = name.split(".")[:2]
    return build_task(head).part if part == "heads" else part


def test_arms_that_differ_in_a_weight_have_one_structure_and_other_weightings_have_others():
    arms = [CONFIGS / f"compare/{name}.yaml" for name in ("lambda-1", "lambda-10", "single", "dwa", "gradnorm")]
    assert of_each_structure(arms) == [arms[0], *arms[2:]]


@pytest.fixture(scope="module")
def fourteen(few_prepared):
    """A prepared folder of which 14 ECGs are trained on."""
    records = few_prepared.records.copy()
    records.loc[records.index[records["split"] == "train"][14:], "split"] = "test"
    return replace(few_prepared, records=records)


@pytest.mark.slow
@pytest.mark.parametrize("path", of_each_structure(SHIPPED), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_config_trains_each_of_its_stages(path, fourteen, tmp_path):
    config = shortened(path)
    folder = RunFolder.create(tmp_path / "run", config, fourteen.path)
    schedule = Schedule.prepare(fourteen, folder, open_tracker("ecgmtl", enabled=False), SILENT)
    before = dict(schedule.new_model().named_parameters())
    after = schedule.train_stages(config.stages).named_parameters()
    moved = {part_of(name) for name, value in after if not torch.equal(value, before[name])}
    history = folder.history.read()
    assert [line.stage for line in history] == [stage.name for stage in config.stages]
    assert all(line.steps >= 2 for line in history)
    assert moved == {part for stage in config.stages for part in stage.trains}
