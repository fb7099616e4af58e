"""Calls of a weighting by the training loop: their order, their arguments, and what is logged."""

from typing import get_args

import numpy as np
import pytest
import torch

from ecgmtl.data.augment import AugmentSettings
from ecgmtl.model.encoders.cnn_transformer import CnnTransformerSettings
from ecgmtl.optimization.diagnostics import DiagnosticsSettings
from ecgmtl.optimization.optimizer import OptimizerSettings
from ecgmtl.optimization.weighting import WeightingSettings
from ecgmtl.optimization.weighting.alternating import AlternatingSettings
from ecgmtl.optimization.weighting.bandit import BanditSettings
from ecgmtl.optimization.weighting.decay import DecaySettings
from ecgmtl.optimization.weighting.famo import FamoSettings
from ecgmtl.training.validation import validate
from tests.trainings import JOINT, training

SHORT = JOINT.model_copy(
    update={"epochs": 2, "augment": AugmentSettings(crop_seconds=0.5), "diagnostics": DiagnosticsSettings(every=0)}
)
OFTEN = {"gradnorm": {"every": 2}, "bandit": {"every": 2, "arms": (0.5, 1.0)}}
METHODS = [kind(**OFTEN.get(kind().kind, {})) for kind in get_args(get_args(WeightingSettings)[0])]
HOOKS = ("expect", "begin", "observe", "forward", "look_again", "reward", "end_epoch")
every_method = pytest.mark.parametrize("settings", METHODS, ids=lambda settings: settings.kind)


def stage_with(weighting, **changes):
    return SHORT.model_copy(update={"weighting": weighting, **changes})


def record_hooks(monkeypatch, settings):
    """Record the calls of the hooks: name, first argument and result of each."""
    calls, kind = [], type(settings.build(SHORT.losses))

    def record(name, method):
        def recorded(weighting, *arguments):
            result = method(weighting, *arguments)
            calls.append((name, arguments[0] if arguments else None, result))
            return result

        monkeypatch.setattr(kind, name, recorded)

    for name in HOOKS:
        record(name, getattr(kind, name))
    return calls


def expected_hooks(weighting, n_batches):
    """Yield the hooks in the order in which two epochs call them."""
    yield from ("expect", "begin")
    for step in range(2 * n_batches):
        if weighting.norms_every and step % weighting.norms_every == 0:
            yield "observe"
        yield "forward"
        if weighting.looks_again:
            yield "look_again"
        if weighting.reward_every and (step + 1) % weighting.reward_every == 0:
            yield "reward"
        if (step + 1) % n_batches == 0:
            yield "end_epoch"


@every_method
def test_two_epochs_call_every_hook_in_order(settings, monkeypatch, tmp_path):
    calls, reports = record_hooks(monkeypatch, settings), []
    run = training(stage_with(settings, batch_size=29))
    run.run(reports.append, tmp_path / "state.pt")
    weighting = run.learner.weighting
    assert [name for name, *_ in calls] == list(expected_hooks(weighting, run.n_batches))
    assert calls[0][1] == {task.name: task.untrained(29) for task in run.learner.tasks}
    arguments = {hook: [argument for name, argument, _ in calls if name == hook] for hook in HOOKS}
    first = arguments["forward"][0]
    torch.testing.assert_close(arguments["begin"][0][first > 0], first[first > 0])
    assert all((norms > 0).all() for norms in arguments["observe"])
    logged = np.concatenate([np.stack([r.steps[f"weight.{task}"] for task in SHORT.losses], axis=1) for r in reports])
    returned = np.stack([result.weights.detach().numpy() for name, _, result in calls if name == "forward"])
    np.testing.assert_array_equal(logged, returned)
    for name, row in weighting.per_task().items():
        last = [reports[-1].steps[f"{name}.{task}"][-1] for task in SHORT.losses]
        if settings.kind not in ("bandit", "uncertainty"):  # their rows change after the step
            np.testing.assert_allclose(last, row.detach().numpy())


def test_losses_after_the_step_use_the_same_batch_and_dropout(monkeypatch, tmp_path):
    calls = record_hooks(monkeypatch, FamoSettings())
    encoder = CnnTransformerSettings(stem=(6, 8), width=8, depth=1, n_heads=2, dropout=0.5, drop_path=0.0)
    slow = OptimizerSettings(lr=1e-5, warmup=0.0)
    training(stage_with(FamoSettings(), optimizer=slow, epochs=1), encoder=encoder).run_epoch()
    before, after = ([values for name, values, _ in calls if name == hook] for hook in ("forward", "look_again"))
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=0)
        assert not torch.equal(one, other)
    assert (before[0] / before[1] - 1).abs().max() > 2e-3  # with another batch the difference would be larger


def test_a_reward_is_the_score_on_patients_held_out_of_training(monkeypatch):
    settings = BanditSettings(every=3, patients=0.2, arms=(0.5, 1.0))
    calls = record_hooks(monkeypatch, settings)
    run = training(stage_with(settings, epochs=1))
    assert run.n_batches == 51 // 16
    run.run_epoch()
    (score,) = [argument for name, argument, _ in calls if name == "reward"]
    assert score == -validate(run.model, SHORT, run.held_out)["loss.classification"]
    assert score != -validate(run.model, SHORT, run.validation)["loss.classification"]


def test_batchnorm_stays_in_training_mode_after_a_reward():
    run = training(stage_with(BanditSettings(every=1), epochs=1))
    run.run_epoch()
    assert all(module.training for module in run.model.encoder.modules())


@pytest.mark.parametrize(
    ("settings", "learned"),
    [
        (AlternatingSettings(), [[1, 0], [0, 1], [1, 0], [0, 1]]),
        (AlternatingSettings(by="epoch"), [[1, 0]] * 4),
        (DecaySettings(shape="exponential", rate=0.0), [[1, 1], [0, 1], [0, 1], [0, 1]]),
    ],
    ids=["alternating", "by epoch", "decay"],
)
def test_an_inactive_task_is_logged_as_nan_and_not_as_divergence(settings, learned, tmp_path):
    reports = []
    run = training(stage_with(settings))
    run.run(reports.append, tmp_path / "state.pt")
    steps = reports[0].steps
    losses, weights = (np.stack([steps[f"{kind}.{task}"] for task in SHORT.losses], 1) for kind in ("loss", "weight"))
    np.testing.assert_array_equal(~np.isnan(losses), np.array(learned, dtype=bool))
    np.testing.assert_array_equal(weights > 0, np.array(learned, dtype=bool))
    figures = reports[0].as_line().figures
    for column, task in enumerate(SHORT.losses):
        known = losses[~np.isnan(losses[:, column]), column]
        assert figures.get(f"train/loss.{task}") == (pytest.approx(known.mean()) if len(known) else None)
    assert all(np.isfinite(value) for value in figures.values())


def test_the_head_of_an_inactive_task_does_not_change():
    run = training(stage_with(DecaySettings(start=0.0), optimizer=OptimizerSettings(weight_decay=0.0)))
    before = {name: value.clone() for name, value in run.model.heads["reconstruction"].state_dict().items()}
    run.run_epoch()
    after = run.model.heads["reconstruction"].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_an_epoch_reports_its_first_step_its_records_and_its_speed(tmp_path):
    reports = []
    training(stage_with(DecaySettings(), batch_size=24)).run(reports.append, tmp_path / "state.pt")
    assert [report.first_step for report in reports] == [0, 2]
    assert [report.epoch for report in reports] == [0, 1]
    for report in reports:
        assert report.n_records == 48  # 64 records in whole batches of 24
        assert report.figures["records_per_second"] == pytest.approx(48 / report.seconds)
        assert (report.as_line().records, report.as_line().steps) == (48, 2)
    lr = np.concatenate([report.steps["lr"] for report in reports])
    np.testing.assert_allclose(lr, [SHORT.optimizer.lr_at(step / 4) for step in range(4)], rtol=1e-6)
