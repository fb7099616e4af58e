from copy import deepcopy

import numpy as np
import pytest
import torch

from ecgmtl.augment import AugmentSettings
from ecgmtl.calibration import Calibration
from ecgmtl.checkpoint import Checkpoint, CheckpointError, save
from ecgmtl.losses import TASKS
from ecgmtl.stages import Stage
from ecgmtl.validation import validate
from tests.trainings import training

PRETEXT = Stage(
    name="pretext",
    trains=("encoder", "predictor", "projector"),
    losses=("latent", "contrastive"),
    epochs=6,
    batch_size=16,
    augment=AugmentSettings(crop_seconds=1.5, shift=True),
)


DISTIL = Stage(
    name="distil",
    trains=("encoder", "classifier"),
    losses=("classification", "distillation"),
    teachers=("to be given",),
    epochs=6,
    batch_size=16,
    augment=AugmentSettings(crop_seconds=1.5, shift=True, mixup=0.3),
)


def test_the_teacher_is_the_running_mean_of_the_encoder(tmp_path):
    run = training(PRETEXT)
    run.run_epoch()
    learner, name = run.learner, "encoder.trunk.stem.0.weight"
    mean = learner.average.mean[name]
    assert torch.equal(learner.taught.mean_encoder.state_dict()[name.removeprefix("encoder.")], mean)
    assert not torch.equal(mean, run.model.state_dict()[name])


def test_a_teacher_sees_the_whole_and_learns_nothing(tmp_path):
    run = training(PRETEXT)
    learner, batch = run.learner, next(run.batches.draw(0))
    target = learner.taught(batch).target
    assert not target.requires_grad
    unmasked = learner.taught(batch._replace(hidden=None)).target
    assert torch.equal(target, unmasked)
    assert not any(p.requires_grad for p in learner.taught.mean_encoder.parameters())
    assert not any(module.training for module in learner.taught.mean_encoder.modules())


def test_pretext_tasks_are_learnt(tmp_path):
    run = training(PRETEXT)
    before = validate(run.model, PRETEXT, run.validation)
    run.run(lambda _: None, tmp_path / "state.pt")
    after = validate(run.model, PRETEXT, run.validation)
    assert after["loss.contrastive"] < before["loss.contrastive"]
    assert after["loss.latent"] < before["loss.latent"]


def test_a_resumed_teacher_teaches_the_same(tmp_path):
    run, resumed = training(PRETEXT), training(PRETEXT)
    run.run_epoch()
    run.epoch += 1
    resumed.load_state_dict(deepcopy(run.state_dict()))
    batch = next(run.batches.draw(1))
    assert torch.equal(run.learner.taught(batch).target, resumed.learner.taught(batch).target)
    went_on, went_on_too = run.run_epoch(), resumed.run_epoch()
    assert all(np.array_equal(values, went_on_too.steps[name]) for name, values in went_on.steps.items())
    assert torch.equal(run.learner.taught(batch).target, resumed.learner.taught(batch).target)


def test_every_task_can_be_learnt_beside_the_others():
    parts = ("encoder", "decoder", "classifier", "predictor", "projector")
    stage = PRETEXT.model_copy(
        update={"trains": parts, "losses": tuple(t for t in TASKS if t not in ("consistency", "distillation"))}
    )
    run = training(stage)
    report = run.run_epoch()
    assert {f"loss.{task}" for task in stage.losses} <= set(report.steps)
    assert {f"loss.{task}" for task in stage.losses} <= set(report.figures)


def test_a_student_learns_what_its_teachers_say(tmp_path):
    teachers = [train_teacher(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1)]
    stage = DISTIL.model_copy(update={"teachers": tuple(str(path) for path, _ in teachers)})
    run = training(stage)
    batch = next(run.batches.draw(0))
    said = torch.stack([torch.sigmoid(model.classify(batch.seen)) for _, model in teachers]).mean(dim=0)
    torch.testing.assert_close(run.learner.taught(batch).soft_labels, said)
    run.run(lambda _: None, tmp_path / "state.pt")
    run.model.eval()
    with torch.no_grad():
        gap = (torch.sigmoid(run.model.classify(batch.seen)) - said).abs().mean()
        gap_before = (torch.sigmoid(training(stage).model.eval().classify(batch.seen)) - said).abs().mean()
    assert gap < 0.5 * gap_before


def test_a_teacher_of_other_labels_is_refused(tmp_path):
    path, _ = train_teacher(tmp_path / "other.safetensors", 0, ("tall", "slow"))
    with pytest.raises(CheckpointError, match="it reads tall, slow, but its student is to read tall, fast"):
        training(DISTIL.model_copy(update={"teachers": (str(path),)}))


def train_teacher(path, seed, labels=("tall", "fast")):
    run = training(DISTIL.model_copy(update={"losses": ("classification",), "teachers": ()}), seed)
    run.run(lambda _: None, path.with_suffix(".pt"))
    model = run.model.eval().requires_grad_(False)
    save(path, Checkpoint(model, run.config, "test", labels, Calibration.identity(2)))
    return path, model


def test_rare_labels_are_rare_among_the_labelled_training_records():
    stage = DISTIL.model_copy(update={"losses": ("classification",), "teachers": ()})
    run = training(stage)
    expected = run.train.labels.mean(dim=0)
    torch.testing.assert_close(run.learner.scoring.prevalence["classification"], expected)
