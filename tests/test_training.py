"""What `ecgmtl train` trains where no config is named."""

import json
import shutil

from ecgmtl.config import Config, load_config
from ecgmtl.shipped import FOLDER
from ecgmtl.training import settings_of


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
        (("encoder", "classifier"), ("classification",)),
        (("decoder",), ("reconstruction",)),
    ]


def test_artificial_records_are_trained_by_the_demonstration():
    assert settings_of(None, ("seed=3",), None) == Config(seed=3)
