from pathlib import Path

import pytest
import yaml

from ecgmtl.config import Config, ConfigError, load_config, parse_config

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_loads_and_says_what_it_spells(path):
    loaded = load_config(path).model_dump(mode="json")
    spelt = yaml.safe_load(path.read_text())
    assert [stage["name"] for stage in spelt["stages"]] == [stage["name"] for stage in loaded["stages"]]
    assert spelt["encoder"].items() <= loaded["encoder"].items()


def test_the_quick_config_spells_the_defaults():
    assert load_config(CONFIGS / "quick.yaml") == Config()


def test_a_config_survives_yaml():
    config = Config(seed=3)
    tree = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    assert parse_config(tree, "again") == config


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sed=1", "config: sed: there is no such setting"),
        ("encoder.kind=cmn", "encoder.kind: 'cmn' is not one of cnn, transformer, cnn_transformer."),
        ("stages.1.weighting.kind=uncertainy", "weighting.kind: 'uncertainy' is not one of fixed, uncertainty, decay."),
        ("preprocess.sf=1", "preprocess.sf: there is no such setting"),
        ("stages.0.losses=[reconstuction]", "reconstuction is asked for; there is reconstruction, classification"),
        ("stages.0.epochs=0", "stages.0.epochs: Input should be greater than 0; found 0"),
        ("stages.7.epochs=1", "there is no such place"),
        ("seed", "should be key=value"),
    ],
)
def test_a_wrong_setting_is_named(override, said):
    with pytest.raises(ConfigError) as caught:
        load_config(None, (override,))
    assert said in str(caught.value)


def test_another_kind_brings_its_own_options():
    config = load_config(None, ("encoder.kind=transformer", "encoder.depth=2"))
    assert (config.encoder.kind, config.encoder.depth) == ("transformer", 2)


def test_a_stage_cannot_train_a_head_without_its_loss():
    with pytest.raises(ConfigError, match="trains the classifier, but has no classification"):
        load_config(None, ("stages.1.losses=[reconstruction]",))


@pytest.mark.parametrize(("text", "said"), [("- 1", "found list"), ("a: [", "cannot be read as YAML")])
def test_a_file_that_holds_no_settings_is_refused(tmp_path, text, said):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_config(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_config(tmp_path / "none.yaml")
