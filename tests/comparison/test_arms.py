from pathlib import Path

import numpy as np
import pytest

from ecgmtl.comparison.arms import expand, load_arm, load_arms
from ecgmtl.config.parse import ConfigError

SHIPPED = Path(__file__).parents[2] / "configs/compare"
VIEWS = SHIPPED.with_name("views")
in_both_folders = pytest.mark.parametrize("arms", [SHIPPED, VIEWS], ids=lambda folder: folder.name)
BASE = """
encoder: {kind: cnn, widths: [8, 8]}
stages:
  - name: main
    trains: [encoder, decoder, classifier]
    losses: [reconstruction, classification]
    epochs: 2
"""
TWO_STAGES = """
about: Two stages.
set:
  stages:
    - {name: pretrain, trains: [encoder, decoder], losses: [reconstruction], epochs: 1}
    - {name: finetune, trains: [encoder, classifier], losses: [classification], epochs: 1}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "_base.yaml").write_text(BASE)
    (tmp_path / "plain.yaml").write_text("about: As the base.")
    (tmp_path / "two.yaml").write_text(TWO_STAGES)
    return tmp_path


def write(folder, name, text):
    (folder / f"{name}.yaml").write_text(text)
    return folder / f"{name}.yaml"


@pytest.mark.parametrize(
    "path",
    [path for arms in (SHIPPED, VIEWS) for path in sorted(arms.glob("[!_]*.yaml"))],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_every_shipped_arm_makes_a_config_and_keeps_its_last_epoch(path):
    arm = load_arm(path)
    assert arm.file.about.endswith(".")
    assert arm.file.group
    assert arm.config.name == path.stem
    assert {stage.keep for stage in arm.config.stages} == {"last"}
    arm.config.build_model(n_labels=5)


@in_both_folders
def test_shipped_arms_take_the_same_number_of_steps_except_the_longer_reference(arms):
    for arm in load_arms(arms):
        learned = sum(stage.epochs for stage in arm.config.stages if stage.classifies)
        assert learned == (30 if arm.name == "single-long" else 20), arm.name
        assert {stage.batch_size for stage in arm.config.stages} == {64}


@in_both_folders
def test_shipped_arms_can_be_tuned(arms):
    for arm in load_arms(arms):
        for sampled in arm.settings_to_try(2)[1:]:
            stages = arm.with_settings(sampled, arm.name).stages
            assert {stage.optimizer.lr for stage in stages} == {sampled["stages.*.optimizer.lr"]}
            own = [float(value) for key, value in sampled.items() if "weighting" in key]
            assert all(value in settings_of(stages[0].weighting) for value in own)


def settings_of(weighting):
    """Return all numbers among the values of a setting."""
    tree = weighting.model_dump()
    return [*tree.values(), *tree.get("weights", {}).values()]


def test_the_control_of_the_shipped_decay_has_its_mean_weight():
    decay, control = (load_arm(SHIPPED / f"{name}.yaml").config.stages[0] for name in ("decay", "decay-mean"))
    progress = (np.arange(2000) + 0.5) / 2000
    weights = np.maximum(decay.weighting.start * (1 - progress), decay.weighting.floor)
    assert weights.mean() == pytest.approx(control.weighting.weights["reconstruction"], abs=0.005)


def test_an_arm_is_its_base_config_with_changed_settings(folder):
    write(folder, "weighed", "about: a\nset: {stages.0.weighting: {kind: fixed, weights: {reconstruction: 0.3}}}")
    base, arm = load_arm(folder / "plain.yaml"), load_arm(folder / "weighed.yaml")
    assert arm.name == arm.config.name == "weighed"
    assert arm.config.stages[0].weighting.weights == {"reconstruction": 0.3}
    same = {"name": "", "stages": [stage.model_dump(exclude={"weighting"}) for stage in base.config.stages]}
    for config in (base.config, arm.config):
        stages = [stage.model_dump(exclude={"weighting"}) for stage in config.stages]
        assert config.model_dump() | {"name": "", "stages": stages} == base.config.model_dump() | same


def test_an_arm_may_start_from_another_base(folder):
    write(folder, "_other", BASE.replace("epochs: 2", "epochs: 9"))
    assert load_arm(write(folder, "b", "about: a\nbase: _other.yaml")).config.stages[0].epochs == 9


def test_overrides_change_the_base_but_not_the_settings_of_an_arm(folder):
    write(folder, "long", "about: a\nset: {stages.0.epochs: 7}")
    arms = {arm.name: arm.config for arm in load_arms(folder, overrides=["stages.0.epochs=3", "label_share=0.1"])}
    assert {name: config.stages[0].epochs for name, config in arms.items()} == {"long": 7, "plain": 3, "two": 1}
    assert {config.label_share for config in arms.values()} == {0.1}


def test_tuned_settings_take_precedence_over_the_arms_file(folder):
    arm = load_arm(write(folder, "a", "about: a\nset: {stages.0.optimizer.lr: 0.1}"))
    assert arm.with_settings({"stages.*.optimizer.lr": 0.2, "seed": 4}, "a").stages[0].optimizer.lr == 0.2
    assert arm.with_settings({"seed": 4}, "a").seed == 4


def test_a_star_selects_every_stage(folder):
    assert expand({"stages.*.lr": 1, "seed": 2}, 2) == {"stages.0.lr": 1, "stages.1.lr": 1, "seed": 2}
    config = load_arm(folder / "two.yaml").with_settings({"stages.*.optimizer.lr": 0.25}, "two")
    assert [stage.optimizer.lr for stage in config.stages] == [0.25, 0.25]


def test_settings_to_try_begin_with_the_arms_own_and_more_of_them_extend_fewer(folder):
    arm = load_arm(folder / "plain.yaml")
    assert arm.settings_to_try(0) == []
    assert arm.settings_to_try(1) == [{}]
    assert arm.settings_to_try(5)[:3] == arm.settings_to_try(3)
    assert len({tuple(settings.values()) for settings in arm.settings_to_try(5)}) == 5


def test_settings_to_try_leave_no_part_of_a_range_out(folder):
    search = "{stages.*.optimizer.lr: [1.0e-4, 1.0e-2], stages.0.optimizer.clip: [1, 2]}"
    arm = load_arm(write(folder, "a", f"about: a\nsearch: {search}"))
    tried = arm.settings_to_try(8)[1:]
    rates = np.log10([settings["stages.*.optimizer.lr"] for settings in tried])
    clips = np.log2([settings["stages.0.optimizer.clip"] for settings in tried])
    for places in ((rates + 4) / 2, clips):
        np.testing.assert_allclose(np.sort(places), np.arange(1, 8) / 8)
    assert abs(np.corrcoef(rates, clips)[0, 1]) < 0.2


def test_an_arm_with_nothing_to_search_is_not_tuned(folder):
    assert load_arm(write(folder, "a", "about: a\nsearch: {}")).settings_to_try(4) == []


def test_an_arm_may_ask_for_fewer_seeds(folder):
    arm = load_arm(write(folder, "a", "about: a\nseeds: 3"))
    assert (list(arm.seeds(5)), list(arm.seeds(2))) == ([0, 1, 2], [0, 1])
    assert list(load_arm(folder / "plain.yaml").seeds(5)) == [0, 1, 2, 3, 4]


def test_only_the_named_arms_are_loaded(folder):
    assert [arm.name for arm in load_arms(folder)] == ["plain", "two"]
    assert [arm.name for arm in load_arms(folder, ["two"])] == ["two"]


def test_an_unknown_arm_is_refused_with_the_names_of_all_arms(folder):
    with pytest.raises(ConfigError, match=r"no arm plane, to; found plain, two\.$"):
        load_arms(folder, ["to", "plane", "plain"])


def test_a_missing_folder_or_one_without_arms_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        load_arms(tmp_path / "nowhere")
    (tmp_path / "_base.yaml").write_text(BASE)
    with pytest.raises(ConfigError, match=r"no arm, which is a \.yaml file; found none"):
        load_arms(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("group: a", "a.yaml: about: Field required"),
        ("about: a\nseed: 3", "a.yaml: seed: there is no such setting; the file of an arm has about, base, set,"),
        ("about: a\nseeds: 0", "a.yaml: seeds: .* greater than 0; found 0"),
        ("about: a\nbase: _bass.yaml", r"_bass\.yaml: cannot be read"),
        ("about: a\nset: {stages.0.epoch: 3}", "a.yaml: stages.0.epoch: there is no such setting"),
        ("about: a\nset: {stages.1.epochs: 3}", "stages.1.epochs: there is no such key"),
        ("about: a\nset: {stages.0.weighting: {kind: fixd}}", "a.yaml: stages.0.weighting.kind: 'fixd' is not one of"),
        ("about: a\nset: {stages.0.losses: [reconstruction], stages.0.trains: [encoder]}", "learns classification"),
        ("about: a\nsearch: {stages.0.optimizer.lr: [1, 0.1]}", "the range should rise; found 1\\.0 to 0\\.1"),
        ("about: a\nsearch: {stages.0.optimizer.lr: [0, 1]}", "search.stages.0.optimizer.lr.0: .* greater than 0"),
        ("about: [", "a.yaml: cannot be read as YAML"),
    ],
)
def test_an_error_in_an_arm_names_its_file_and_key(folder, text, message):
    with pytest.raises(ConfigError, match=message):
        load_arm(write(folder, "a", text))


def test_an_unknown_key_in_search_is_named(folder):
    arm = load_arm(write(folder, "a", "about: a\nsearch: {stages.*.optimizer.rate: [1, 2]}"))
    with pytest.raises(ConfigError, match=r"a: stages\.0\.optimizer\.rate: there is no such setting"):
        arm.with_settings(arm.settings_to_try(2)[1], "a")
