import json
from pathlib import Path

from ecgmtl.config.run import load_config
from ecgmtl.config.shipped import find_config
from ecgmtl.tracking import names

SHOWN = json.loads((Path(__file__).parents[2] / "docs/mlflow.json").read_text())["charts"]


def test_the_picture_of_mlflow_shows_the_first_section_under_its_present_names():
    tasks = load_config(find_config(Path("quick"))).stages[1].losses
    figures = [names.LEARNING_RATE, *map(names.loss, tasks), *map(names.weight, tasks)]
    assert sorted(map(names.train, figures)) == SHOWN  # if not, take it anew by docs/make/mlflow_picture.py
