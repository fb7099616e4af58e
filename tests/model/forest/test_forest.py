import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from data_prep.quality.lost_voltage import ALL, EACH_LEAD, TYPICAL_MV, to_typical
from ecgmtl import checkpoint
from ecgmtl.config.run import Config
from ecgmtl.metrics.calibration import Calibration
from ecgmtl.model.forest.forest import KINDS, Forest, ForestSettings, grow, lost_voltage, of_one_size
from ecgmtl.model.forest.grow import grow_forest, measure_kinds
from ecgmtl.model.forest.measurements import in_rows, measure, measurement_names
from tests.trainings import SMALL, split

SETTINGS = ForestSettings(n_trees=7, n_leaves=5, weight=1.0)
FS = 100.0


@pytest.fixture(scope="module")
def signals():
    return torch.randn(300, 12, 200, generator=torch.Generator().manual_seed(0)).cumsum(dim=-1) / 10


@pytest.fixture(scope="module")
def without(signals):
    """Return the same records with all leads at the same scale."""
    return torch.from_numpy(to_typical(signals.numpy(), EACH_LEAD))


@pytest.fixture(scope="module")
def measured(signals, without):
    return {
        kind: in_rows(measure(some, None, FS)).numpy() for kind, some in zip(KINDS, (signals, without), strict=True)
    }


@pytest.fixture(scope="module")
def labels(measured):
    """Return four labels: one that depends on a measurement, a random one, one without and one with only positives."""
    size = measured["kept"][:, 3]
    told, chance = size > np.median(size), np.random.default_rng(0).random(300) < 0.2
    return np.stack([told, chance, np.zeros(300, bool), np.ones(300, bool)], axis=1)


@pytest.fixture(scope="module")
def forest(measured, labels):
    return grow(measured, labels, SETTINGS, 0, FS)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_match_scikit_learn(kind, forest, signals, without, measured, labels):
    found = forest({"kept": signals, "lost": without}[kind])
    for place in (0, 1):
        booster = HistGradientBoostingClassifier(
            max_iter=7,
            max_leaf_nodes=5,
            learning_rate=0.06,
            min_samples_leaf=20,
            l2_regularization=5.0,
            max_features=0.2,
            early_stopping=False,
            random_state=0,
        )
        wanted = booster.fit(measured[kind], labels[:, place]).decision_function(measured[kind])
        np.testing.assert_allclose(found[:, place], wanted, atol=1e-5)
    assert roc_auc_score(labels[:, 0], found[:, 0]) > {"kept": 0.95, "lost": 0.7}[kind]


@pytest.mark.parametrize("level", [0.3, 1.0, 4.0])
def test_lost_voltage_is_recognized_by_equal_leads_or_the_typical_level(level, signals, without):
    signals, without = signals[:40], without[:40]
    assert not lost_voltage(measure(signals, None, FS)["rms"]).any()
    mask = torch.zeros(40, 8, 200, dtype=torch.bool)
    mask[:, 4] = True
    part = level * without
    part[:, 9] = 0.0
    for some, where in ((level * without, None), (part, None), (part, mask)):
        assert of_one_size(measure(some, where, FS)["rms"]).all()
    at_level = torch.from_numpy(to_typical(signals.numpy(), ALL))
    for factor, lost in ((0.98, True), (1.0, True), (1.02, True), (0.95, False), (1.05, False)):
        assert (lost_voltage(measure(factor * at_level, None, FS)["rms"]) == lost).all()
    assert lost_voltage(measure(torch.nn.functional.pad(at_level, (0, 200)), None, FS)["rms"]).all()
    few = part.clone()
    few[:, 3:] = 0.0  # three leads may have the same scale by chance
    for some in (few, 0 * without):
        assert not lost_voltage(measure(some, None, FS)["rms"]).any()


def test_a_constant_label_is_predicted_by_its_prevalence(forest, signals):
    found = torch.sigmoid(forest(signals))
    torch.testing.assert_close(found[:, 2:], torch.tensor([[1e-3, 1 - 1e-3]]).expand(300, 2))


def test_the_weight_scales_the_logits(measured, labels, signals, forest):
    half = grow(measured, labels, SETTINGS.model_copy(update={"weight": 0.5}), 0, FS)
    torch.testing.assert_close(half(signals), 0.5 * forest(signals))


def test_the_same_seed_grows_the_same_forest(measured, labels, forest):
    again, other = (grow(measured, labels, SETTINGS, seed, FS).state_dict() for seed in (0, 1))
    assert all(torch.equal(again[name], tensor) for name, tensor in forest.state_dict().items())
    assert not torch.equal(other["feature"], forest.state_dict()["feature"])


def test_a_forest_from_a_state_dict_is_the_same(forest, signals):
    state = {f"forest.{name}": tensor for name, tensor in forest.state_dict().items()}
    assert torch.equal(Forest.of_state(state, FS)(signals), forest(signals))
    assert Forest.of_state({"classifier.read.bias": torch.zeros(2)}, FS) is None


def model_with(forest):
    model = Config(encoder=SMALL, forest=SETTINGS).build_model(4).eval()
    model.forest = forest
    return model


def test_a_model_adds_the_forests_logits_to_the_networks(forest, signals):
    alone, both = model_with(None), model_with(forest)
    both.load_state_dict(alone.state_dict(), strict=False)
    mask = torch.zeros(300, 8, 200, dtype=torch.bool)
    mask[:, 4] = True
    torch.testing.assert_close(both.classify(signals), alone.classify(signals) + forest(signals))
    for where in (None, mask):
        network, found = (model(signals, where, ("classification",))["classification"] for model in (alone, both))
        torch.testing.assert_close(found, network + forest(signals, where))
    assert not torch.equal(forest(signals), forest(signals, mask))


def test_a_checkpoint_keeps_the_forest(forest, signals, tmp_path):
    model = model_with(forest)
    config = Config(encoder=SMALL, forest=SETTINGS)
    stored = checkpoint.Checkpoint(model, config, "rhythm", tuple("abcd"), Calibration.identity(4))
    checkpoint.save(tmp_path / "model.safetensors", stored)
    loaded = checkpoint.load(tmp_path / "model.safetensors").model
    assert torch.equal(loaded.classify(signals), model.classify(signals))


def test_a_forest_that_was_grown_on_other_measurements_is_refused(forest, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    config = Config(encoder=SMALL, forest=SETTINGS)
    stored = checkpoint.Checkpoint(model_with(forest), config, "rhythm", tuple("abcd"), Calibration.identity(4))
    with monkeypatch.context() as another_version:
        in_another_order = measurement_names(forest.fs)[::-1]
        another_version.setattr(checkpoint, "measurement_names", lambda _: in_another_order)
        checkpoint.save(path, stored)
    with pytest.raises(checkpoint.CheckpointError, match="fitted on measurements other"):
        checkpoint.load(path)


def test_training_uses_labeled_records_with_and_without_voltages():
    train = split(40)
    train.labeled[10:] = False
    labeled = train.select(train.labeled)
    found = measure_kinds(labeled)
    whole = labeled.batch(torch.arange(10)).signals
    names = measurement_names(train.fs)
    torch.testing.assert_close(found["kept"], in_rows(measure(whole, None, train.fs)))
    size = found["lost"][:, :12]
    torch.testing.assert_close(size, torch.full_like(size, TYPICAL_MV), rtol=1e-5, atol=0)
    assert len(names) < found["lost"].shape[1] == found["kept"].shape[1]
    steps = []
    grown = grow_forest(SETTINGS, train, 0, lambda *step: steps.append(step)).state_dict()
    assert steps == [
        (step, 5) for step in range(1, 6)
    ]  # one batch of measurements, then two labels for each of two kinds
    again = grow_forest(SETTINGS, train, 0).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in grown.items())
    wanted = grow(
        {kind: rows.numpy() for kind, rows in found.items()}, labeled.labels.numpy() > 0, SETTINGS, 0, train.fs
    )
    assert all(torch.equal(wanted.state_dict()[name], tensor) for name, tensor in grown.items())


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("child", lambda child: 1 - child.clamp(max=1), "has a cycle"),
        ("child", lambda child: child + 100, "index out of range"),
        ("feature", lambda feature: feature.int(), "feature should be torch.int16"),
        ("value", lambda value: value[:, :2], "value should be torch.float32"),
        ("start", lambda start: start[:1], "start should be torch.float32"),
        ("start", lambda _: None, "start should be .* found None"),
    ],
)
def test_tensors_that_are_no_trees_are_refused(forest, name, change, said):
    state = {f"forest.{key}": value.clone() for key, value in forest.state_dict().items()}
    state[f"forest.{name}"] = change(state[f"forest.{name}"])
    with pytest.raises(ValueError, match=said):
        Forest.of_state({key: value for key, value in state.items() if value is not None}, FS)
