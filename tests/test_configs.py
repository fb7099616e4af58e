"""Every shipped config trains real steps of each of its stages, on artificial ECGs."""

from pathlib import Path

import pytest
import torch

from data_prep.prepare import prepare
from data_prep.preprocess import Preprocess
from data_prep.store import open_store
from data_prep.synthetic import write_ptbxl
from ecgmtl.comparison.arms import load_arm
from ecgmtl.config import load_config
from ecgmtl.run_folder import RunFolder
from ecgmtl.schedule import Progress, Schedule
from ecgmtl.tracking import open_tracker

CONFIGS = Path(__file__).parent.parent / "configs"
SHIPPED = [path for path in sorted(CONFIGS.rglob("*.yaml")) if not path.name.startswith("_")]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A few prepared ECGs: 22 to train on, 2 to validate on."""
    place = tmp_path_factory.mktemp("few")
    write_ptbxl(place / "records", 28, seed=0)
    prepare(place / "records", place / "store", Preprocess(), "superdiagnostic", workers=1)
    return open_store(place / "store")


def shortened(path):
    """The config of a file, eager, with one epoch a stage, of a few steps, for the rate of the very first one is 0."""
    config = load_config(path) if path.parent == CONFIGS else load_arm(path).config
    stages = [stage.model_copy(update={"epochs": 1, "batch_size": 4}) for stage in config.stages]
    return config.model_copy(update={"stages": tuple(stages), "compile": False})


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_config_trains_each_of_its_stages(path, store, tmp_path):
    config = shortened(path)
    folder = RunFolder.create(tmp_path / "run", config, store.path)
    silent = Progress(lambda *_: None, lambda: None, lambda _: None, lambda _: None)
    schedule = Schedule.prepare(store, folder, open_tracker("ecgmtl", enabled=False), silent)
    before = dict(schedule.new_model().named_parameters())
    after = schedule.train_stages(config.stages).named_parameters()
    moved = {name.partition(".")[0] for name, value in after if not torch.equal(value, before[name])}
    history = folder.read_history()
    assert [line["stage"] for line in history] == [stage.name for stage in config.stages]
    assert all(line["steps"] >= 2 for line in history)
    assert moved == {part for stage in config.stages for part in stage.trains}
