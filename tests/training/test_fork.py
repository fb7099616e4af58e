"""ForkMerge: beside a loop of a few lines, and beside each of its branches trained without a fork."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import update_bn

from ecgmtl.config.stage import Stage
from ecgmtl.data.augment import AugmentSettings
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.encoders.cnn_transformer import CnnTransformerSettings
from ecgmtl.model.heads import ClassifierSettings
from ecgmtl.optimization.diagnostics import DiagnosticsSettings
from ecgmtl.optimization.forkmerge import merge_moments, merge_states
from ecgmtl.optimization.optimizer import OptimizerSettings
from ecgmtl.training.errors import TrainingError
from ecgmtl.training.fork import Fork
from ecgmtl.training.stage import StageTraining
from ecgmtl.training.step import Learner
from ecgmtl.training.validation import validate
from tests.trainings import JOINT, SMALL, training

PLAIN = {
    "weighting": {"kind": "fixed", "weights": {"reconstruction": 0.5}},
    "augment": AugmentSettings(crop_seconds=0.5, shift=True, mixup=0.3),
    "diagnostics": DiagnosticsSettings(every=0),
    "keep": "last",
}
DROPOUT = CnnTransformerSettings(stem=(6, 8), width=8, depth=1, n_heads=2, dropout=0.3, drop_path=0.3)


def forked(encoder=SMALL, epochs=3, stage=None, every=2, alphas=(0, 0.25, 0.5, 0.75, 1), patients=0.2, **settings):
    tree = (
        JOINT.model_dump()
        | PLAIN
        | {"epochs": epochs, "fork": {"every": every, "alphas": alphas, "patients": patients}}
    )
    return training(Stage.model_validate(tree | (stage or {})), encoder=encoder, **settings)


def on_same_patients(run, stage):
    """Return a training without a fork that starts from the same weights and has the same records."""
    return StageTraining(deepcopy(run.model), stage, run.config, run.batches.split, run.validation)


def run_to_end(run, tmp_path):
    reports = []
    return run.run(reports.append, tmp_path / "state.pt"), reports


@pytest.mark.parametrize(
    ("encoder", "settings"),
    [
        (SMALL, {}),
        (DROPOUT, {}),
        (SMALL, {"stage": {"views": {"classification": "clean"}}, "normalization": "batch_by_view"}),
    ],
    ids=["BatchNorm", "dropout", "two views"],
)
def test_where_alpha_is_always_zero_the_network_is_the_one_that_learned_the_main_task_alone(
    encoder, settings, tmp_path
):
    run = forked(encoder, alphas=(0.0,), **settings)
    alone = on_same_patients(run, run.stage.main_alone)
    merged, single = run_to_end(run, tmp_path)[0], run_to_end(alone, tmp_path)[0]
    same = [name for name in merged if torch.equal(merged[name], single[name])]
    of_reconstruction = [name for name in merged if name.startswith("heads.reconstruction.") or ".masked_" in name]
    assert set(merged) - set(of_reconstruction) <= set(same)
    assert len(same) < len(merged)  # the decoder is that of the branch that trains it


def test_where_alpha_is_always_one_the_weights_are_those_of_joint_training(tmp_path):
    run = forked(alphas=(1.0,))
    joint = on_same_patients(run, run.stage.model_copy(update={"fork": None}))
    merged, plain = run_to_end(run, tmp_path)[0], run_to_end(joint, tmp_path)[0]
    statistics = {name for name in merged if not torch.equal(merged[name], plain[name])}
    assert statistics
    assert all(name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked") for name in statistics)


class Branch:
    """A network with an optimizer and an EMA of its own."""

    def __init__(self, run, stage, trained):
        self.network = deepcopy(run.model)
        self.loss_of = Learner(self.network, stage, run.config, run.train).losses  # only the losses are a Learner's
        self.trained = {name: p for name, p in self.network.named_parameters() if name.startswith(trained)}
        matrices, others = ([p for p in self.trained.values() if (p.dim() > 1) is large] for large in (True, False))
        groups = [{"params": matrices, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=2e-3)
        self.mean = deepcopy(self.network.state_dict())

    def step(self, losses, decay):
        self.optimizer.zero_grad()
        (losses[-1] + 0.5 * sum(losses[:-1])).backward()
        self.optimizer.step()
        for name, value in self.network.state_dict().items():
            self.mean[name] = decay * self.mean[name] + (1 - decay) * value


def test_three_epochs_equal_a_plain_loop(tmp_path):
    """The loop has its own optimizers, EMA weights, interpolation, BatchNorm statistics and choice of alpha."""
    alphas = (0.25, 0.5, 0.9)
    run = forked(
        CnnSettings(widths=(4, 6)), epochs=3, every=1, alphas=alphas, classifier=ClassifierSettings(dropout=0.0),
        stage={"optimizer": OptimizerSettings(schedule="constant", warmup=0, clip=None, ema=0.9)},
    )  # fmt: skip
    shared = ("encoder.", "heads.classification.")
    joint = Branch(run, run.stage, (*shared, "heads.reconstruction."))
    alone = Branch(run, run.stage.main_alone, shared)
    n_updates, chosen = 0, []
    for epoch in range(3):
        batches = [batch._replace(mask=None) for batch in run.batches.of_epoch(epoch)]
        for batch, clean in zip(run.batches.of_epoch(epoch), batches, strict=True):
            decay = min(0.9, (1 + n_updates) / (10 + n_updates))
            joint.step(joint.loss_of(batch, (True, True), 0.0), decay)
            alone.step(alone.loss_of(clean, (True,), 0.0), decay)
            n_updates += 1
        candidates = {alpha: blend(alone.mean, joint.mean, alpha, shared) for alpha in alphas}
        losses = {}
        reference = statistics(run, alone.mean, batches)
        for alpha, candidate in candidates.items():
            for name, estimate in statistics(run, candidate, batches).items():
                candidate[name] = alone.mean[name] + estimate - reference[name]
            network = deepcopy(run.model)
            network.load_state_dict(candidate)
            losses[alpha] = validate(network, run.stage.main_alone, run.held_out)["loss.classification"]
        best = min(losses, key=losses.get)
        chosen.append(best)
        weights = blend(alone.network.state_dict(), joint.network.state_dict(), best, shared)
        moments = {
            name: {k: v.lerp(joint.optimizer.state[joint.trained[name]][k], best) for k, v in state.items()}
            for name, p in alone.trained.items()
            for state in [alone.optimizer.state[p]]
        }
        for branch in (alone, joint):
            branch.network.load_state_dict(weights)
            branch.mean = deepcopy(candidates[best])
            for name, state in moments.items():
                branch.optimizer.state[branch.trained[name]] = deepcopy(state)
    kept, reports = run_to_end(run, tmp_path)
    assert [report.figures["fork_alpha"] for report in reports] == chosen
    for name, value in candidates[best].items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(kept[name], value, rtol=1e-3, atol=1e-4, msg=name)


def statistics(run, weights, batches):
    """Return the encoder's BatchNorm statistics over these batches."""
    network = deepcopy(run.model)
    network.load_state_dict(weights)
    update_bn([batch.input for batch in batches], Classifying(network))
    return {k: v for k, v in network.state_dict().items() if "running" in k and k.startswith("encoder.")}


class Classifying(torch.nn.Module):
    """A model that runs the classifier alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, signals):
        return self.model(signals, None, ("classification",))


def blend(alone, joint, alpha, shared):
    return {k: (1 - alpha) * alone[k] + alpha * v if k.startswith(shared) else v.clone() for k, v in joint.items()}


def test_a_merge_is_at_least_as_good_on_held_out_patients_as_either_branch(monkeypatch, tmp_path):
    losses = []
    held_out_loss = Fork.held_out_loss
    monkeypatch.setattr(Fork, "held_out_loss", lambda *of: losses.append(held_out_loss(*of)) or losses[-1])
    reports = run_to_end(forked(epochs=4), tmp_path)[1]
    for report, each in zip(reports, np.reshape(losses, (4, 5)), strict=True):
        assert report.figures["fork_held_out_loss"] == min(each)


def test_the_patients_that_choose_alpha_are_neither_trained_on_nor_validated(tmp_path):
    run = forked(patients=0.25)
    held_out, trained = set(run.held_out.patients), set(run.batches.split.patients)
    assert len(held_out) == 16
    assert not held_out & trained
    assert run.fork.held_out is run.held_out


def test_alpha_and_the_loss_of_the_main_task_alone_are_logged(tmp_path):
    reports = run_to_end(forked(), tmp_path)[1]
    for report in reports:
        assert report.figures["fork_alpha"] in (0.0, 0.25, 0.5, 0.75, 1.0)
        assert len(report.steps["loss_alone.classification"]) == len(report.steps["lr"])
        assert "validation/fork_alpha" in report.as_line().figures


def test_validation_is_of_the_merged_network(tmp_path):
    run = forked(epochs=1)
    weights, (report,) = run_to_end(run, tmp_path)
    run.model.load_state_dict(weights)
    assert validate(run.model, run.stage, run.validation)["macro_auroc"] == report.figures["macro_auroc"]
    assert validate(run.model, run.stage.main_alone, run.held_out)["loss.classification"] == report.figures[
        "fork_held_out_loss"
    ]  # fmt: skip


def test_a_branch_that_diverges_is_reported(tmp_path):
    run = forked()
    with torch.no_grad():
        run.fork.alone.model.heads["classification"].read.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"stage 'joint', epoch 1, step 1: training diverged"):
        run_to_end(run, tmp_path)


def test_a_task_that_needs_two_views_leaves_the_main_task_one_of_each_record():
    stage = {
        "losses": ("classification", "contrastive"), "trains": ("encoder", "classifier", "projector"),
        "augment": AugmentSettings(crop_seconds=0.5), "weighting": {"kind": "fixed"},
    }  # fmt: skip
    run = forked(stage=stage)
    batch = next(run.batches.of_epoch(0))
    alone = run.fork.of_main(batch)
    assert len(batch.labels) == 2 * len(alone.labels) == 32
    assert torch.equal(alone.signals, batch.signals[::2])


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_interpolated_states_follow_the_formula(alpha):
    alone, joint = ({"a": torch.randn(3), "b": torch.randn(2), "n": torch.tensor(i)} for i in range(2))
    merged = merge_states(alone, joint, ["a", "n"], alpha)
    torch.testing.assert_close(merged["a"], (1 - alpha) * alone["a"] + alpha * joint["a"])
    assert torch.equal(merged["b"], joint["b"])
    assert merged["n"] == 1
    assert all(merged[name] is not joint[name] for name in joint)


def test_moments_are_those_of_the_interpolated_gradients():
    """Of one gradient sequence a branch, Adam's first moment of their interpolation."""
    pair = [torch.nn.Parameter(torch.zeros(4)) for _ in range(3)]
    gradients = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(0))
    optimizers = [torch.optim.AdamW([parameter], lr=0.1) for parameter in pair]
    for one, other in gradients:
        for parameter, gradient in zip(pair, (one, other, 0.75 * one + 0.25 * other), strict=True):
            parameter.grad = gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    merge_moments(optimizers[0], optimizers[1], [(pair[0], pair[1])], 0.25)
    expected = optimizers[2].state[pair[2]]
    for optimizer, parameter in zip(optimizers[:2], pair, strict=False):
        torch.testing.assert_close(optimizer.state[parameter]["exp_avg"], expected["exp_avg"])
        assert (optimizer.state[parameter]["exp_avg_sq"] >= expected["exp_avg_sq"] - 1e-9).all()  # convexity
        assert optimizer.state[parameter]["step"] == 5


def test_a_parameter_that_one_branch_has_not_updated_takes_the_moments_of_the_other():
    pair = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    optimizers = [torch.optim.SGD([parameter], lr=0.1, momentum=0.9) for parameter in pair]
    pair[0].grad = torch.ones(2)
    optimizers[0].step()
    merge_moments(*optimizers, [tuple(pair)], 1.0)
    assert torch.equal(optimizers[1].state[pair[1]]["momentum_buffer"], torch.ones(2))
