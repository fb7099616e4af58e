"""Costs that are counted for a run, and properties that all shipped arms share."""

import multiprocessing
from pathlib import Path

import pytest
import torch

from ecgmtl.comparison import queue
from ecgmtl.comparison.arms import load_arm, load_arms
from ecgmtl.comparison.run import encoder_passes, means, points
from ecgmtl.training.history import EpochLine

SHIPPED = Path(__file__).parents[2] / "configs/compare"


def test_shipped_arms_of_one_architecture_begin_with_the_same_weights():
    arms = [arm for arm in load_arms(SHIPPED) if arm.config.sharing.kind == "hard"]
    started = {}
    for arm in arms:
        torch.manual_seed(0)
        started[arm.name] = arm.config.build_model(5).encoder.state_dict()
    first = started.pop("single")
    assert len(started) > 30
    for name, weights in started.items():
        assert all(torch.equal(first[key], value) for key, value in weights.items()), name


@pytest.mark.parametrize(
    ("arm", "passes"),
    [
        ("single", 1), ("lambda-1", 1), ("pcgrad", 5 / 3), ("noise", 5 / 3), ("soft", 2), ("cross-stitch", 2),
        ("alternating", 1), ("multi-level", 1), ("famo", 4 / 3), ("forkmerge", 2),
    ],
)  # fmt: skip
def test_the_cost_of_a_step_is_counted_in_encoder_passes(arm, passes):
    config = load_arm(SHIPPED / f"{arm}.yaml").config
    assert encoder_passes(config.stages[0], config) == pytest.approx(passes)


def test_a_frozen_encoder_needs_no_backward_pass():
    config = load_arm(SHIPPED / "probe.yaml").config
    assert [encoder_passes(stage, config) for stage in config.stages] == pytest.approx([1, 1 / 3, 1])


def test_teachers_and_second_views_cost_encoder_passes():
    config = load_arm(SHIPPED.parent / "pretraining/all-both-student.yaml").config
    both_views, its_teacher, labels, student = 2, 2 / 3, 1, 1 + 1 / 3
    assert [encoder_passes(stage, config) for stage in config.stages] == pytest.approx(
        [both_views + its_teacher, labels, student]
    )


def test_a_curve_follows_the_order_of_the_stages():
    config = load_arm(SHIPPED / "pretrain.yaml").config
    figures = {"validation/macro_auroc": 0.7, "train/loss.classification": 0.5}
    lines = [
        EpochLine("finetune", 0, 10, 640, 2.0, figures),
        EpochLine("pretrain", 1, 10, 640, 2.0, {}),
        EpochLine("pretrain", 0, 10, 640, 2.0, {}),
    ]
    curve = points(lines, config)
    assert [point.macro_auroc for point in curve] == [None, None, 0.7]
    assert [point.seconds for point in curve] == [2, 4, 6]
    assert (curve[-1].train_loss, curve[-1].loss) == (0.5, None)


def test_means_are_over_the_epochs_that_have_a_figure():
    figures = [
        {"train/weight.a": 1.0, "train/loss.a": 9.0},
        {"train/weight.a": 2.0, "train/weight.b": float("nan")},
        {},
    ]
    found = means([EpochLine("joint", i, 1, 1, 1.0, each) for i, each in enumerate(figures)], "train/weight.")
    assert found == pytest.approx({"a": 1.5, "b": float("nan")}, nan_ok=True)


@pytest.mark.parametrize(("n_gpus", "used"), [(2, [0, 1, 0]), (0, [])])
def test_parallel_runs_use_each_gpu_in_turn(n_gpus, used, monkeypatch):
    chosen = []
    monkeypatch.setattr(queue, "end_with_parent", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    n_started = multiprocessing.get_context("spawn").Value("i")
    for _ in range(3):
        queue.start_worker(n_started)
    assert chosen == used
