import json
from pathlib import Path

import pytest
import yaml

from ecgmtl.config.parse import ConfigError
from ecgmtl.config.run import Config, load_config, parse_config

CONFIGS = Path(__file__).parents[2] / "configs"
TAUGHT_BY = (
    "stages.1={{name: joint, trains: [classifier], losses: [classification, distillation], epochs: 1, teachers: [{}]}}"
)
WHOLE = [*CONFIGS.glob("*.yaml"), CONFIGS / "compare/_base.yaml"]


@pytest.mark.parametrize("path", sorted(WHOLE), ids=lambda path: path.name)
def test_every_shipped_config_loads_and_says_what_it_spells(path):
    loaded = load_config(path).model_dump(mode="json")
    spelled = yaml.safe_load(path.read_text())
    assert same(spelled, loaded)


def same(spelled, loaded):
    """Whether all that is spelled stands in what was loaded, whatever defaults stand there too."""
    if isinstance(spelled, dict):
        return spelled.keys() <= loaded.keys() and all(same(value, loaded[key]) for key, value in spelled.items())
    if isinstance(spelled, list):
        return len(spelled) == len(loaded) and all(map(same, spelled, loaded))
    return spelled == loaded


def test_the_quick_config_spells_the_defaults():
    assert load_config(CONFIGS / "quick.yaml") == Config()


def test_a_config_survives_yaml():
    config = Config(seed=3)
    tree = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    assert parse_config(tree, "again") == config


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sed=1", "config with --set: sed: there is no such setting"),
        (
            "encoder.kind=cmn",
            "encoder.kind: 'cmn' is not one of cnn, transformer, cnn_transformer, s4d, convnext, leadwise.",
        ),
        (
            "stages.1.weighting.kind=uncertainy",
            "weighting.kind: 'uncertainy' is not one of fixed, uncertainty, uw_so, gradnorm,",
        ),
        ("preprocess.sf=1", "preprocess.sf: there is no such setting"),
        (
            "stages.0.losses=[reconstuction]",
            "stages.0.losses: found reconstuction; choose from reconstruction, classification, ",
        ),
        ("stages.0.epochs=0", "stages.0.epochs: Input should be greater than 0; found 0"),
        ("stages.0.losses=reconstruction", "stages.0.losses: should be a list, as [a, b]; found 'reconstruction'."),
        ("stages.0.masking=0.5", "masking: should be a group of settings, as {key: value}; found 0.5."),
        ("stages.7.epochs=1", "there is no such key"),
        ("seed", "should be key=value"),
        ("seed={", "--set seed={: the value cannot be read as YAML: line 1: "),
        ("encoder={kind: cnn, kind: transformer}", "YAML: line 1: 'kind' is already in line 1."),
        ("stages.0.optimizer.lr=.inf", "stages.0.optimizer.lr: Input should be a finite number; found inf."),
        ("stages.0.optimizer.lr=.nan", "stages.0.optimizer.lr: Input should be a finite number; found nan."),
        ("stages.0.weighting.weights={reconstruction: .inf}", "weights.reconstruction: Input should be a finite"),
        ("stages.0.augment.crop_seconds=.inf", "stages.0.augment.crop_seconds: Input should be a finite number"),
        (
            "stages.0.augment.crop_seconds=0.01",
            "stages.0.augment.crop_seconds: Input should be greater than or equal to 0.5; found 0.01.",
        ),
        (
            "stages.0.augment.crop_seconds=1000000000",
            "crop_seconds: Input should be less than or equal to 86400; found 1",
        ),
        ("stages.0.masking.block_seconds=0.001", "block_seconds: Input should be greater than or equal to 0.01; found"),
        (
            "stages.0.masking.block_seconds=1000000000",
            "block_seconds: Input should be less than or equal to 60; found 1",
        ),
        ("label_share=.nan", "label_share: Input should be a finite number; found nan."),
        ("preprocess.seconds=.inf", "preprocess.seconds: inf must be a number from 1 to 86400."),
        ("seed=-1", "seed: Input should be greater than or equal to 0; found -1."),
        ("seed=4294967296", "seed: Input should be less than 4294967296; found 4294967296."),
        (
            "stages.0.batch_size=1000000000000000000000",
            "stages.0.batch_size: should be from -9007199254740992 to 9007199254740992;",
        ),
        ("seed.x=1", "there is no such key"),
        ("name=../elsewhere", "name: should be a plain name"),
        ("encodr.kind=cnn", "config with --set: encodr: there is no such setting"),
        ("encoder.widht=3", "config with --set: encoder.widht: there is no such setting"),
        ("encoder={widths: [8]}", "encoder: should have a `kind`."),
        ("encoder.kernel_size=4", "encoder.kernel_size: should be odd"),
        ("stages.1.name=pretrain", "stages need names that differ; found pretrain, pretrain, decay"),
        ("stages=[]", "no stage"),
        ("stages.1.name=untrained", "a stage cannot be called untrained, which is what a stage may start from"),
        ("stages.1.start=decay", "stage 'joint' starts from 'decay'; choose one of pretrain, untrained"),
        (TAUGHT_BY.format("decay"), "stage 'joint' has the teacher 'decay', which must come before it"),
        (TAUGHT_BY.format("pretrain"), "stage 'joint' has the teacher 'pretrain', which does not learn classification"),
        (
            "stages.1.losses=[classification, reconstruction, classification_rhythm]",
            "config with --set: stage 'joint' learns classification_rhythm; name rhythm in auxiliary_labels.",
        ),
    ],
)
def test_a_wrong_setting_is_named(override, said):
    with pytest.raises(ConfigError) as caught:
        load_config(None, (override,))
    assert said in str(caught.value)
    assert "{'" not in str(caught.value)  # a whole group of settings says nothing


def test_another_kind_brings_its_own_options():
    config = load_config(None, ("encoder.kind=transformer", "encoder.depth=2"))
    assert (config.encoder.kind, config.encoder.depth) == ("transformer", 2)


def test_a_group_that_is_left_out_by_default_can_be_set_in_part():
    forest = load_config(None, ("forest.n_trees=7",)).forest
    assert (forest.n_trees, forest.n_leaves) == (7, 8)
    assert load_config(None, ("forest={}",)).forest is not None


def test_a_forest_needs_a_classifier_to_stand_beside():
    overrides = ("forest={}", "stages=[{name: a, trains: [decoder], losses: [reconstruction], epochs: 1}]")
    with pytest.raises(
        ConfigError, match="forest needs a trained classifier, but no stage that the last one builds on has"
    ):
        load_config(None, overrides)


def test_a_stage_cannot_train_a_head_without_its_loss():
    with pytest.raises(ConfigError, match="trains the classifier, on which none of its losses depends"):
        load_config(None, ("stages.1.losses=[reconstruction]",))


def test_gradients_cannot_meet_where_each_task_has_its_own_encoder():
    with pytest.raises(ConfigError, match="pcgrad needs parameters that tasks share; soft has none"):
        load_config(None, ("sharing.kind=soft", "stages.1.gradients.kind=pcgrad"))


@pytest.mark.parametrize(("text", "said"), [("- 1", "found list"), ("a: [", "cannot be read as YAML")])
def test_a_file_that_holds_no_settings_is_refused(tmp_path, text, said):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_config(path)


def test_a_key_that_is_given_twice_is_named_with_both_lines(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("seed: 1\nencoder: {kind: cnn}\nseed: 2\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}: cannot be read as YAML: line 3: 'seed' is already in line 1."


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_every_option_survives_json():
    config = load_config(
        None, ("preprocess.band=[0.5, 40]", "encoder.kind=transformer", "stages.1.weighting.kind=fixed",
               "stages.1.weighting.weights.classification=2", "stages.0.patience=3", "auxiliary_labels=[all]"),
    )  # fmt: skip
    assert parse_config(json.loads(json.dumps(config.model_dump(mode="json"))), "again") == config
    assert config.stages[1].weighting.weights == {"classification": 2.0}
    assert config.preprocess.band == (0.5, 40.0)


@pytest.mark.parametrize(
    ("override", "value"),
    [("seed=7", 7), ("precision=bf16", "bf16"), ("stages.2.optimizer.lr=1e-4", 1e-4), ("labels=null", None)],
)
def test_a_value_is_set_where_it_belongs(override, value):
    found = load_config(None, (override,)).model_dump(mode="json")
    for key in override.partition("=")[0].split("."):
        found = found[int(key) if isinstance(found, list) else key]
    assert found == value


def test_the_same_kind_keeps_its_options():
    config = load_config(None, ("encoder.widths=[8, 16]", "encoder.kind=cnn"))
    assert config.encoder.widths == (8, 16)


def test_mistakes_of_a_file_are_all_told_with_its_name(tmp_path):
    path = tmp_path / "joint.yaml"
    path.write_text("sed: 1\nencoder: {kind: cnn, widht: 3}\npreprocess: {fs: 30}\nprecision: fp8\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert sorted(str(caught.value).splitlines()) == [
        f"{path}: encoder.widht: there is no such setting; is it misspelled? `ecgmtl show defaults` lists all.",
        f"{path}: precision: Input should be 'auto', 'fp32' or 'bf16'; found 'fp8'.",
        f"{path}: preprocess.fs: 30 must be a whole number of hertz from 50 to 10000.",
        f"{path}: sed: there is no such setting; is it misspelled? `ecgmtl show defaults` lists all.",
    ]


def test_a_classifier_is_built_for_each_further_label_set():
    assert list(Config().build_model(5).heads) == ["reconstruction", "classification"]
    further = Config().build_model(5, {"rhythm": 12, "form": 19}).heads
    counts = {"classification_rhythm": 12, "classification_form": 19}
    assert {name: further[name].read.out_features for name in counts} == counts
