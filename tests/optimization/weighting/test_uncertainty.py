import math

import pytest
import torch

from ecgmtl.optimization.weighting import Moment
from ecgmtl.optimization.weighting.uncertainty import LIMIT, UncertaintySettings
from tests.promises.family import TASKS

LOSSES = torch.tensor([0.8, 0.3, 0.1])
START = Moment(step=0, epoch=0, progress=0.0)


def learn(weighting, losses, lr):
    optimizer = torch.optim.Adam(weighting.parameters(), lr=lr)
    for loss in losses:
        optimizer.zero_grad()
        weighting(torch.tensor([loss]), START).objective.backward()
        optimizer.step()
        yield weighting.log_var.item()


@pytest.mark.parametrize("task", ["reconstruction", "classification"])
def test_uncertainty_weights_are_half_the_inverse_losses_at_the_optimum(task):
    weighting = UncertaintySettings().build((task,))
    list(learn(weighting, [0.2] * 500, lr=0.05))
    assert weighting(torch.tensor([0.2]), START).weights.item() == pytest.approx(1 / (2 * 0.2), rel=1e-3)


@pytest.mark.parametrize("regularizer", ["log", "liebel"])
def test_uncertainty_starts_where_its_gradient_is_zero(regularizer):
    for losses in (LOSSES, torch.tensor([1e-3, 1e-4, 50.0])):
        weighting = UncertaintySettings(regularizer=regularizer).build(TASKS)
        weighting.begin(losses)
        weighting(losses, START).objective.backward()
        torch.testing.assert_close(weighting.log_var.grad, torch.zeros(3), atol=1e-6, rtol=0)


def test_log_uncertainty_starts_at_half_the_inverse_losses():
    weighting = UncertaintySettings().build(TASKS)
    weighting.begin(LOSSES)
    # Gaussian: log L; Bernoulli: log 2L
    expected = torch.log(torch.tensor([0.8, 2 * 0.3, 2 * 0.1]))
    torch.testing.assert_close(weighting.log_var.detach(), expected)
    torch.testing.assert_close(weighting(LOSSES, START).weights, 1 / (2 * LOSSES))


@pytest.mark.parametrize(
    ("task", "loss", "expected"),
    [
        ("reconstruction", 1.0, 0.5),  # u = (1 + sqrt(1 + 8)) / 4 = 1, weight 1 / 2u
        ("reconstruction", 0.01, 6.8255),  # u = (0.01 + sqrt(0.0001 + 0.08)) / 4 = 0.073255
        ("classification", 0.5, 1.0),  # u = (0.5 + sqrt(0.25 + 2)) / 2 = 1, weight 1 / u
    ],
)
def test_liebel_weights_grow_less_than_the_inverse_loss(task, loss, expected):
    weighting = UncertaintySettings(regularizer="liebel").build((task,))
    weighting.begin(torch.tensor([loss]))
    assert weighting(torch.tensor([loss]), START).weights.item() == pytest.approx(expected, rel=1e-4)
    learned = UncertaintySettings(regularizer="liebel").build((task,))
    list(learn(learned, [loss] * 800, lr=0.05))
    assert learned(torch.tensor([loss]), START).weights.item() == pytest.approx(expected, rel=1e-3)


def test_the_objective_is_the_formula():
    weighting = UncertaintySettings().build(("reconstruction", "classification"))
    with torch.no_grad():
        weighting.log_var.copy_(torch.tensor([math.log(2), 0.0]))
    # 1/2 * 1/2 * 0.8 + 1/2 log 2 + 1 * 1 * 0.3 + 0
    assert weighting(LOSSES[:2], START).objective.item() == pytest.approx(0.2 + 0.5 * math.log(2) + 0.3)


@pytest.mark.parametrize("regularizer", ["log", "liebel"])
def test_uncertainty_weights_of_a_zero_loss_are_finite(regularizer):
    weighting = UncertaintySettings(regularizer=regularizer).build(TASKS)
    nothing = torch.full((3,), 1e-12)
    weighting.begin(nothing)
    weights, objective = weighting(nothing, START)
    assert objective.isfinite()
    assert weights.max() <= torch.tensor(LIMIT).exp()


def test_uncertainty_refuses_to_start_from_a_negative_loss():
    with pytest.raises(ValueError, match="never negative"):
        UncertaintySettings().build(TASKS).begin(torch.tensor([-0.1, 0.2, 0.3]))


def test_uncertainty_recovers_from_its_limit():
    weighting = UncertaintySettings().build(("classification",))
    seen = list(learn(weighting, [0.0] * 40 + [0.2] * 80, lr=0.5))  # at the limit, the gradient must still pull back
    assert max(abs(log_var) for log_var in seen) < LIMIT + 0.6
    assert min(seen) < -LIMIT + 0.1
    assert seen[-1] > -LIMIT + 1
