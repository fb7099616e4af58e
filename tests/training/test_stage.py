import contextlib
import math

import numpy as np
import pytest
import torch

from ecgmtl.config.stage import Stage
from ecgmtl.data.augment import AugmentSettings
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.optimization.optimizer import OptimizerSettings
from ecgmtl.training.errors import TrainingError
from ecgmtl.training.state_file import load_state
from ecgmtl.training.validation import validate
from tests.trainings import JOINT, PROBE, training


def test_frozen_parts_do_not_change(tmp_path):
    run = training(PROBE)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    after = run.run(lambda _: None, tmp_path / "state.pt")
    changed = {name.rsplit(".", 2)[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"heads.classification"}


def test_the_same_seed_gives_the_same_history(tmp_path):
    histories = []
    for seed in (0, 0, 1):
        history = []
        training(seed=seed).run(history.append, tmp_path / "state.pt")
        histories.append(np.concatenate([report.steps["loss.classification"] for report in history]))
    assert np.array_equal(histories[0], histories[1])
    assert not np.array_equal(histories[0], histories[2])


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Reports of 15 epochs on records that are easy to classify."""
    plain = {"augment": AugmentSettings(), "optimizer": OptimizerSettings(ema=0.9)}
    history = []
    torch.set_num_threads(1)
    run = training(JOINT.model_copy(update={"epochs": 15, **plain}))
    run.run(history.append, tmp_path_factory.mktemp("long") / "state.pt")
    return history


def test_training_improves_auroc_and_reconstruction_loss(history):
    assert history[-1].figures["macro_auroc"] > 0.95
    assert history[-1].figures["loss.reconstruction"] < history[0].figures["loss.reconstruction"]


def test_learned_uncertainty_weights_follow_the_losses(history):
    last = history[-1].steps
    for task in JOINT.losses:
        half_inverse = 1 / (2 * last[f"loss.{task}"].mean())
        assert last[f"weight.{task}"].mean() == pytest.approx(half_inverse, rel=0.5)


def test_a_step_logs_losses_weights_and_learning_rate():
    report = training().run_epoch()
    names = {f"{kind}.{task}" for kind in ("loss", "weight", "log_var") for task in JOINT.losses}
    assert set(report.steps) == names | {"gradient_norm", "lr"}
    assert all(len(values) == 4 for values in report.steps.values())  # 64 records in batches of 16
    weights = 0.5 * np.exp(-report.steps["log_var.reconstruction"])
    np.testing.assert_allclose(report.steps["weight.reconstruction"][1:], weights[:-1], rtol=1e-4)


def test_a_run_interrupted_after_any_epoch_resumes_to_identical_weights(tmp_path):
    whole = training().run(lambda _: None, tmp_path / "whole.pt")
    for epoch in (1, 3):

        def interrupt(report, epoch=epoch):
            if report.epoch == epoch:
                raise KeyboardInterrupt

        path = tmp_path / f"{epoch}.pt"
        with contextlib.suppress(KeyboardInterrupt):
            training().run(interrupt, path)
        second = training()
        second.load_state_dict(load_state(path))
        assert second.epoch == epoch
        resumed = second.run(lambda _: None, path)
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_keep_selects_the_best_or_the_last_epoch(tmp_path):
    kept = {}
    for keep in ("best", "last"):
        history = []
        run = training(JOINT.model_copy(update={"keep": keep, "optimizer": OptimizerSettings(lr=0.02, ema=0.0)}))
        weights = run.run(history.append, tmp_path / "state.pt")
        run.model.load_state_dict(weights)
        kept[keep] = validate(run.model, run.stage, run.validation)["macro_auroc"]
        scores = [report.figures["macro_auroc"] for report in history]
    assert kept["best"] == max(scores)
    assert kept["last"] == scores[-1]


def test_early_stopping_counts_epochs_without_improvement(tmp_path):
    frozen = OptimizerSettings(lr=1e-30)  # too small to change any weight
    stage = PROBE.model_copy(update={"epochs": 50, "patience": 3, "optimizer": frozen})
    history = []
    training(stage).run(history.append, tmp_path / "state.pt")
    assert len(history) == 1 + 3


def test_a_stage_on_auxiliary_labels_alone_is_selected_by_their_loss(tmp_path):
    stage = Stage(name="s", trains=("encoder", "auxiliary_classifiers"), losses=("classification_second",), epochs=3)
    history = []
    run = training(stage, auxiliary=True)
    run.run(history.append, tmp_path / "state.pt")
    losses = [report.figures["loss.classification_second"] for report in history]
    assert run.best_epoch == int(np.argmin(losses))


def test_an_autoencoder_without_masks_is_validated_on_all_samples(tmp_path):
    masking = MaskingSettings(time=0, leads=0, visible=1.0)
    run = training(
        Stage(name="s", trains=("encoder", "decoder"), losses=("reconstruction",), epochs=3, masking=masking)
    )
    history = []
    run.run(history.append, tmp_path / "state.pt")
    losses = [report.figures["loss.reconstruction"] for report in history]
    assert 0 < min(losses) < losses[0]
    assert run.best_epoch == int(np.argmin(losses))


def test_a_validation_split_without_positives_is_refused(tmp_path):
    run = training()
    run.validation.labels.zero_()
    with pytest.raises(TrainingError, match=r"stage 'joint', epoch 1: classification cannot be validated on the 32 "):
        run.run(lambda _: None, tmp_path / "state.pt")


@pytest.mark.parametrize("clip", [None, 0.01])
def test_only_the_networks_gradient_is_measured_and_clipped(clip):
    run = training(JOINT.model_copy(update={"batch_size": 64, "optimizer": OptimizerSettings(clip=clip)}))
    run.learner.begun = True
    run.learner.weighting.log_var.data.fill_(-2.0)  # far from its optimum, so that its own gradient is large
    measured = run.run_epoch().steps["gradient_norm"].item()  # norm of the only step, whose gradients are still stored
    assert gradient_norm(run.model) == pytest.approx(clip or measured, rel=1e-3)
    assert measured > 0.01
    assert run.learner.weighting.log_var.grad.abs().min() > 0.1


def gradient_norm(model):
    return math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters() if p.grad is not None))


def test_records_of_an_incomplete_batch_are_left_to_another_epoch():
    run = training()
    assert run.n_batches == 64 // 16
    whole = training(JOINT.model_copy(update={"batch_size": 100}))
    assert whole.n_batches == 1
    assert len(next(whole.batches.of_epoch(0)).labels) == 64


def test_batches_differ_between_epochs_and_are_reproducible():
    run = training()
    first, again, second = (next(run.batches.of_epoch(epoch)) for epoch in (0, 0, 1))
    assert torch.equal(first.input, again.input)
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.mask, second.mask)
    assert not torch.equal(first.labels, second.labels)


def test_validation_uses_the_ema_weights_and_does_not_change_the_weights():
    run = training()
    run.run_epoch()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    name = "heads.classification.read.weight"
    assert not torch.equal(before[name], run.learner.average.mean[name])
    figures = run.validate()
    assert all(torch.equal(before[name], value) for name, value in run.model.state_dict().items())
    run.model.load_state_dict(run.learner.average.mean)
    assert figures == validate(run.model, run.stage, run.validation)
