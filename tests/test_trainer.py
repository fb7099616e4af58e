import numpy as np
import pytest
import torch

from ecgmtl.augment import AugmentSettings
from ecgmtl.checkpoint import load_state, save_state
from ecgmtl.config import Config
from ecgmtl.data import Split, lead_statistics
from ecgmtl.encoders.cnn import CnnSettings
from ecgmtl.optimisation import OptimiserSettings
from ecgmtl.stages import Stage
from ecgmtl.trainer import StageTraining, TrainingError
from ecgmtl.weighting.uncertainty import UncertaintySettings

JOINT = Stage(
    name="joint",
    trains=("encoder", "decoder", "classifier"),
    losses=("reconstruction", "classification"),
    weighting=UncertaintySettings(),
    epochs=4,
    batch_size=16,
    augment=AugmentSettings(crop_seconds=1.5, shift=True, mixup=0.3, noise=0.01),
)


def split(n=64, seed=0):
    """Records whose first label is a taller wave in lead I, its second one a faster rhythm."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (n, 2))
    time = np.arange(200) / 100
    rate, height = 1.0 + 2.0 * labels[:, 1:], 300 + 700 * labels[:, :1]
    wave = height * np.maximum(np.sin(2 * np.pi * (rate * time + rng.uniform(size=(n, 1)))), 0) ** 8
    signals = wave[:, None, :] * rng.normal(1, 0.1, (n, 12, 1)) + rng.normal(0, 30, (n, 12, 200))
    return Split(
        signals=torch.from_numpy(signals.astype(np.int16)),
        labels=torch.from_numpy(labels.astype(np.float32)),
        label_names=("tall", "fast"),
        auxiliary_labels=None,
        auxiliary_label_names=(),
        names=tuple(map(str, range(n))),
        patients=np.arange(n),
        groups=labels.astype(np.float32),
        group_names=("tall", "fast"),
        fs=100.0,
    )


def training(stage=JOINT, seed=0):
    config = Config(seed=seed, encoder=CnnSettings(widths=(8, 16)), stages=(stage,), precision="fp32")
    train = split()
    torch.manual_seed(seed)
    model = config.build_model(2)
    mean, std = lead_statistics(train)
    model.standardise.mean.copy_(mean)
    model.standardise.std.copy_(std)
    return StageTraining(model, stage, config, train, split(32, seed=1))


def test_frozen_parts_do_not_move(tmp_path):
    probe = Stage(name="probe", trains=("classifier",), losses=("classification",), epochs=2, batch_size=16)
    run = training(probe)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    after = run.run(lambda _: None, tmp_path / "state.pt")
    moved = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"classifier"}


def test_the_same_seed_gives_the_same_history(tmp_path):
    histories = []
    for seed in (0, 0, 1):
        history = []
        training(seed=seed).run(history.append, tmp_path / "state.pt")
        histories.append(np.concatenate([found.steps["loss.classification"] for found in history]))
    assert np.array_equal(histories[0], histories[1])
    assert not np.array_equal(histories[0], histories[2])


def test_learning_happens(tmp_path):
    stage = JOINT.model_copy(
        update={"epochs": 15, "augment": AugmentSettings(), "optimiser": OptimiserSettings(ema=0.9)}
    )
    history = []
    training(stage).run(history.append, tmp_path / "state.pt")
    assert history[-1].figures["macro_auroc"] > 0.95
    assert history[-1].figures["loss.reconstruction"] < history[0].figures["loss.reconstruction"]


def test_a_resumed_training_ends_at_the_very_same_weights(tmp_path):
    whole = training().run(lambda _: None, tmp_path / "whole.pt")
    first = training()
    for _ in range(2):
        first.run_epoch()
        first.epoch += 1
    save_state(tmp_path / "cut.pt", first.state_dict())
    second = training()
    second.load_state_dict(load_state(tmp_path / "cut.pt"))
    resumed = second.run(lambda _: None, tmp_path / "rest.pt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_patience_ends_a_stage_early(tmp_path):
    stage = JOINT.model_copy(update={"epochs": 50, "patience": 2, "optimiser": OptimiserSettings(lr=1e-12)})
    history = []
    training(stage).run(history.append, tmp_path / "state.pt")
    assert len(history) < 50


def test_a_loss_that_is_not_finite_names_its_place(tmp_path):
    run = training()
    with torch.no_grad():
        run.model.classifier.read.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"stage 'joint', epoch 1, step 1: .*classification nan"):
        run.run(lambda _: None, tmp_path / "state.pt")


def test_a_step_logs_losses_weights_and_rate():
    found = training().run_epoch()
    names = {f"{kind}.{task}" for kind in ("loss", "weight", "log_var") for task in JOINT.losses}
    assert set(found.steps) == names | {"gradient_norm", "lr"}
    assert all(len(values) == 4 for values in found.steps.values())  # 64 records in batches of 16
    weights = 0.5 * np.exp(-found.steps["log_var.reconstruction"])
    np.testing.assert_allclose(found.steps["weight.reconstruction"][1:], weights[:-1], rtol=1e-4)
