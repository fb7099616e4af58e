import math

import numpy as np
import pytest
import torch

from ecgmtl.optimization.weighting import Moment
from ecgmtl.optimization.weighting.bandit import BanditSettings
from tests.promises.family import TASKS

START = Moment(step=0, epoch=0, progress=0.0)


def play(bandit, gains, noise, rng):
    """What the chosen arms gain in all, where the bandit sees the score with noise on each gain."""
    gained = score = 0.0
    for now in gains:
        gained += now[bandit.arm]
        score += now[bandit.arm] + noise * rng.standard_normal()
        bandit.reward(score)
    return gained


def drifting(seed, size):
    """Of five arms one gains `size` at each of 120 decisions and the others lose it; it changes every 30."""
    best = np.repeat(np.random.default_rng(seed).integers(5, size=4), 30)
    return size * np.where(np.arange(5) == best[:, None], 1.0, -1.0)


def simulate(size):
    """Gains of Thompson, its uniform control and the best fixed arm over 50 seeds, under noise of 1 a decision."""
    rows = []
    for seed in range(50):
        gains = drifting(seed, size)
        played = [
            play(BanditSettings(control=control).build(TASKS, seed), gains, 1.0, np.random.default_rng((seed, 1)))
            for control in ("thompson", "uniform")
        ]
        rows.append([*played, gains.sum(axis=0).max()])
    return np.array(rows).T


def errors_above(one, other):
    """The mean difference in standard errors."""
    difference = one - other
    return difference.mean() / (difference.std(ddof=1) / math.sqrt(len(difference)))


def test_thompson_beats_its_control_but_no_fixed_arm_with_a_strong_reward():
    thompson, uniform, fixed = simulate(size=1.0)
    assert errors_above(thompson, uniform) > 4
    assert errors_above(fixed, thompson) > 4


def test_thompson_equals_its_control_with_a_weak_reward():
    thompson, uniform, fixed = simulate(size=0.05)
    assert abs(errors_above(thompson, uniform)) < 3
    assert errors_above(fixed, thompson) > 4


def test_the_posterior_follows_the_formula():
    bandit = BanditSettings(forgetting=0.3).build(TASKS)
    first = bandit.arm
    bandit.reward(0.5)  # a start: no reward
    assert bandit.alpha.tolist() == bandit.beta.tolist() == [1.0] * 5
    second = bandit.arm
    bandit.reward(0.6)
    expected = np.ones(5)  # 0.7 * 1 + 0.3, and one more for the arm that was in force
    expected[second] = 2.0
    assert bandit.alpha.tolist() == expected.tolist()
    third = bandit.arm
    bandit.reward(0.4)
    losses = np.ones(5)
    losses[third] = 2.0
    expected = 0.7 * expected + 0.3
    assert bandit.alpha.tolist() == pytest.approx(expected.tolist())
    assert bandit.beta.tolist() == pytest.approx(losses.tolist())
    assert {first, second, third} <= set(range(5))


def test_every_auxiliary_task_gets_the_weight_of_the_arm():
    bandit = BanditSettings(base=0.2).build(TASKS)
    for arm, expected in enumerate([0.0, 0.05, 0.1, 0.2, 0.4]):
        bandit.arm = arm
        weights = bandit(torch.ones(3), START).weights
        assert weights.tolist() == pytest.approx([expected, 1.0, expected])
        assert torch.equal(bandit.per_task()["arm"], weights)
        assert bandit.active(START) == (None if arm else (False, True, False))


def test_the_uniform_control_samples_all_arms_equally_and_does_not_learn():
    bandit = BanditSettings(control="uniform").build(TASKS)
    taken = []
    for decision in range(1000):
        taken.append(bandit.arm)
        bandit.reward(float(decision if bandit.arm == 0 else -decision))
    # 200 each, with a standard deviation of sqrt(1000 * 0.2 * 0.8) = 12.6
    assert np.abs(np.bincount(taken, minlength=5) - 200).max() < 50


def test_a_nan_score_is_no_reward():
    bandit = BanditSettings().build(TASKS)
    bandit.reward(0.5)
    bandit.reward(math.nan)
    assert bandit.alpha.tolist() == bandit.beta.tolist() == [1.0] * 5
    assert bandit.score == 0.5


def test_the_bandit_declares_its_reward_interval_and_patients():
    bandit = BanditSettings(every=7, patients=0.2).build(TASKS)
    assert (bandit.reward_every, bandit.reward_patients) == (7, 0.2)
