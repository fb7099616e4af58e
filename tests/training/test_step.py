from copy import deepcopy

import numpy as np
import pytest
import torch

from data_prep.preprocess import Preprocess
from ecgmtl.checkpoint import Checkpoint, CheckpointError, save
from ecgmtl.config.stage import Stage
from ecgmtl.data.augment import AugmentSettings
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.evaluation.protocols import infer_logits
from ecgmtl.metrics.calibration import Calibration
from ecgmtl.metrics.ranking import macro_auroc
from ecgmtl.model.sharing.multi_level import MultiLevelSettings
from ecgmtl.optimization.diagnostics import DiagnosticsSettings
from ecgmtl.optimization.weighting.gradnorm import GradNormSettings
from ecgmtl.tasks import TASKS, ClassificationSettings, TaskSettings, build_task
from ecgmtl.tasks.classification import classification
from ecgmtl.training.validation import validate
from tests.trainings import ENCODERS, JOINT, PROBE, training

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
    teachers=("placeholder",),
    epochs=6,
    batch_size=16,
    augment=AugmentSettings(crop_seconds=1.5, shift=True, mixup=0.3, lead_dropout=0.2),
)


def test_the_latent_teacher_has_the_encoders_ema_weights(tmp_path):
    run = training(PRETEXT)
    run.run_epoch()
    learner, name = run.learner, "encoder.trunk.stem.0.weight"
    mean = learner.average.mean[name]
    assert torch.equal(learner.teaching.mean_encoder.state_dict()[name.removeprefix("encoder.")], mean)
    assert not torch.equal(mean, run.model.state_dict()[name])


def test_the_teacher_reads_unmasked_signals_and_is_not_trained(tmp_path):
    run = training(PRETEXT)
    learner, batch = run.learner, next(run.batches.of_epoch(0))
    target = learner.teaching(batch).teacher_features
    assert not target.requires_grad
    unmasked = learner.teaching(batch._replace(mask=None)).teacher_features
    assert torch.equal(target, unmasked)
    assert not any(p.requires_grad for p in learner.teaching.mean_encoder.parameters())
    assert not any(module.training for module in learner.teaching.mean_encoder.modules())


def test_training_lowers_the_losses_of_pretext_tasks(tmp_path):
    run = training(PRETEXT)
    before = validate(run.model, PRETEXT, run.validation)
    run.run(lambda _: None, tmp_path / "state.pt")
    after = validate(run.model, PRETEXT, run.validation)
    assert after["loss.contrastive"] < before["loss.contrastive"]
    assert after["loss.latent"] < before["loss.latent"]


def test_a_resumed_teacher_gives_the_same_targets(tmp_path):
    run, resumed = training(PRETEXT), training(PRETEXT)
    run.run_epoch()
    run.epoch += 1
    resumed.load_state_dict(deepcopy(run.state_dict()))
    batch = next(run.batches.of_epoch(1))
    assert torch.equal(run.learner.teaching(batch).teacher_features, resumed.learner.teaching(batch).teacher_features)
    report, resumed_report = run.run_epoch(), resumed.run_epoch()
    assert all(np.array_equal(values, resumed_report.steps[name]) for name, values in report.steps.items())
    assert torch.equal(run.learner.teaching(batch).teacher_features, resumed.learner.teaching(batch).teacher_features)


def test_all_tasks_can_be_trained_together():
    parts = ("encoder", *dict.fromkeys(build_task(name).part for name in TASKS))
    stage = PRETEXT.model_copy(
        update={
            "trains": parts,
            "losses": tuple(t for t in TASKS if t not in ("consistency", "distillation")),
            "views": {"classification": "both"},
        }
    )
    run = training(stage, sharing=MultiLevelSettings(levels={"mid_classification": 1}))
    report = run.run_epoch()
    assert {f"loss.{task}" for task in stage.losses} <= set(report.steps)
    assert {f"loss.{task}" for task in stage.losses} <= set(report.figures)


def test_a_student_learns_its_teachers_mean_probabilities(tmp_path):
    teachers = [train_teacher(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1)]
    stage = DISTIL.model_copy(update={"teachers": tuple(str(path) for path, _ in teachers)})
    run = training(stage)
    batch = next(run.batches.of_epoch(0))
    targets = torch.stack([torch.sigmoid(model.classify(batch.signals)) for _, model in teachers]).mean(dim=0)
    torch.testing.assert_close(run.learner.teaching(batch).soft_labels, targets)
    run.run(lambda _: None, tmp_path / "state.pt")
    run.model.eval()
    with torch.no_grad():
        gap = (torch.sigmoid(run.model.classify(batch.signals)) - targets).abs().mean()
        gap_before = (torch.sigmoid(training(stage).model.eval().classify(batch.signals)) - targets).abs().mean()
    assert gap < 0.5 * gap_before


def test_a_student_learns_from_its_teacher_without_labels(tmp_path):
    path, teacher = train_teacher(tmp_path / "teacher.safetensors", 0)
    run = training(DISTIL.model_copy(update={"losses": ("distillation",), "teachers": (str(path),)}))
    run.train.labeled[:] = False
    run.train.labels[:] = torch.nan
    run.run(lambda _: None, tmp_path / "state.pt")
    run.model.load_state_dict(run.best)
    targets, learned = (
        macro_auroc(infer_logits(model, run.validation), run.validation.labels.numpy())
        for model in (teacher, run.model)
    )
    assert run.best_score == pytest.approx(learned)
    assert learned > targets - 0.05 > 0.6


def test_a_teacher_without_a_trained_classifier_is_refused(tmp_path):
    run, path = training(PRETEXT), tmp_path / "blank.safetensors"
    save(path, Checkpoint(run.model.eval(), run.config, "test", ("tall", "fast"), Calibration.identity(2)))
    with pytest.raises(CheckpointError, match="never trained to classify; use another teacher"):
        training(DISTIL.model_copy(update={"teachers": (str(path),)}))


def test_a_teacher_with_other_labels_is_refused(tmp_path):
    path, _ = train_teacher(tmp_path / "other.safetensors", 0, ("tall", "slow"))
    with pytest.raises(CheckpointError, match="predicts tall, slow, but its student learns tall, fast"):
        training(DISTIL.model_copy(update={"teachers": (str(path),)}))


def test_a_teacher_with_other_preprocessing_is_refused(tmp_path):
    path, _ = train_teacher(tmp_path / "other.safetensors", 0)
    with pytest.raises(CheckpointError, match=r"its preprocess.band is None, but its student's is \(0.5, 40.0\)"):
        training(DISTIL.model_copy(update={"teachers": (str(path),)}), preprocess=Preprocess(band=(0.5, 40.0)))


def train_teacher(path, seed, labels=("tall", "fast")):
    run = training(DISTIL.model_copy(update={"losses": ("classification",), "teachers": ()}), seed)
    run.run(lambda _: None, path.with_suffix(".pt"))
    model = run.model.eval().requires_grad_(False)
    save(path, Checkpoint(model, run.config, "test", labels, Calibration.identity(2)))
    return path, model


def test_prevalence_is_computed_from_the_labeled_training_records():
    stage = DISTIL.model_copy(update={"losses": ("classification",), "teachers": ()})
    run = training(stage)
    expected = run.train.labels.mean(dim=0)
    torch.testing.assert_close(run.learner.tasks[0].prevalence, expected)


def test_gradnorm_starts_from_the_theoretical_losses_of_an_untrained_network():
    tasks = ("reconstruction", "classification", "contrastive")
    fields = {
        "losses": tasks,
        "trains": ("encoder", "decoder", "classifier", "projector"),
        "augment": AugmentSettings(),
    }
    run = training(JOINT.model_copy(update={**fields, "weighting": GradNormSettings()}))
    shares = run.train.labels.mean(dim=0).double()
    entropy = -(shares * shares.log() + (1 - shares) * (1 - shares).log()).mean()
    expected = torch.tensor([1.0, float(entropy), np.log(2 * JOINT.batch_size - 1)], dtype=torch.float32)
    torch.testing.assert_close(run.learner.weighting.start, expected)
    run.model.heads["classification"].start_at(run.train.labels.mean(dim=0))
    run.model.heads["classification"].read.weight.data.zero_()
    (batch,) = run.train.in_order(len(run.train))
    losses = run.learner.losses(batch, (False, True, False), 0.0)
    torch.testing.assert_close(losses[1], expected[1])


def test_the_untrained_loss_follows_the_classification_settings():
    shares = torch.tensor([0.1, 0.4])
    odd = ClassificationSettings(kind="asymmetric", gamma_positive=1.0, smoothing=0.1, balance=0.5)
    loss = build_task("classification", TaskSettings(classification=odd), {"classification": shares}).untrained(64)
    labels = (torch.arange(10)[:, None] < 10 * shares).float()
    expected = classification(torch.logit(shares).expand(10, -1), labels, odd, shares)
    assert loss == pytest.approx(expected.item(), rel=1e-5)


def test_a_configured_start_of_gradnorm_is_kept():
    run = training(JOINT.model_copy(update={"weighting": GradNormSettings(start={"classification": 0.2})}))
    torch.testing.assert_close(run.learner.weighting.start, torch.tensor([1.0, 0.2]))


def test_a_linear_probe_works_on_frozen_soft_shared_encoders():
    run = training(PROBE, sharing={"kind": "soft"})
    before = deepcopy(run.model.encoder.state_dict())
    run.run_epoch()
    assert all(torch.equal(value, before[name]) for name, value in run.model.encoder.state_dict().items())


def test_a_gradient_probe_keeps_both_views_of_a_record_in_one_half():
    run = training(PRETEXT.model_copy(update={"batch_size": 9, "diagnostics": DiagnosticsSettings(every=1)}))
    assert "gradient.noise_scale.contrastive" in run.run_epoch().probes[0]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.kind)
def test_the_fused_optimizer_takes_the_same_step_as_the_unfused_one(encoder):
    stepped = []
    for fused in (True, False):
        run = training(encoder=encoder)
        for group in run.learner.optimizer.param_groups:
            assert group["fused"]
            group["fused"] = fused
        run.run_epoch()
        stepped.append(run.model.state_dict())
    # where a gradient is 0 up to rounding, such as that of a bias of keys, so is the step
    torch.testing.assert_close(*stepped, atol=2e-4, rtol=1e-3)


def test_a_first_batch_without_masks_does_not_set_the_weights():
    run = training(JOINT.model_copy(update={"masking": MaskingSettings(grows_from=0.0)}))
    weights = run.run_epoch().steps["weight.reconstruction"]
    assert weights[0] == pytest.approx(0.5, rel=0.1)  # the weight for a loss of 1, the variance of standardized samples
    assert weights.max() < 2


def test_batches_of_one_record_are_trained_without_gradient_probes():
    run = training(JOINT.model_copy(update={"batch_size": 1, "diagnostics": DiagnosticsSettings(every=1)}))
    assert not any(run.run_epoch().probes.values())
