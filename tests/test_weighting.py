import pytest
import torch
from pydantic import ValidationError

from ecgmtl.optimisation import WEIGHTING_LR, OptimiserSettings, build_optimiser
from ecgmtl.stages import Stage
from ecgmtl.weighting.decay import DecaySettings
from ecgmtl.weighting.fixed import FixedSettings
from ecgmtl.weighting.uncertainty import UncertaintySettings
from tests.promises import TASKS, every_weighting

LOSSES = torch.tensor([0.8, 0.3, 0.1])


@every_weighting
def test_the_total_has_a_gradient_for_every_loss(settings):
    losses = LOSSES.clone().requires_grad_()
    total, weights = settings().build(TASKS)(losses, 0.2)
    total.backward()
    torch.testing.assert_close(losses.grad, weights.detach())
    assert (weights > 0).all()


@every_weighting
def test_a_kept_state_goes_on_with_the_same_weights(settings):
    def train(weighting, steps):
        optimiser = torch.optim.SGD([*weighting.parameters(), torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        found = []
        for step in steps:
            optimiser.zero_grad()
            total, weights = weighting(LOSSES * (1 - step / 40), step / 20)
            if total.requires_grad:
                total.backward()
            optimiser.step()
            found.append(weights.clone())
        return torch.stack(found)

    straight = settings().build(TASKS)
    straight.begin(LOSSES)
    train(straight, range(10))
    fresh = settings().build(TASKS)
    fresh.load_state_dict(straight.state_dict())
    assert torch.equal(train(straight, range(10, 20)), train(fresh, range(10, 20)))


@pytest.mark.parametrize("task", ["reconstruction", "classification"])
def test_uncertainty_weighs_by_half_the_inverse_loss_at_its_optimum(task):
    weighting = UncertaintySettings().build((task,))
    optimiser = torch.optim.Adam(weighting.parameters(), lr=0.05)
    loss = torch.tensor([0.2])
    for _ in range(500):
        optimiser.zero_grad()
        weighting(loss, 0.0).total.backward()
        optimiser.step()
    assert weighting(loss, 0.0).weights.item() == pytest.approx(1 / (2 * 0.2), rel=1e-3)


def test_uncertainty_starts_where_its_gradient_is_zero():
    weighting = UncertaintySettings().build(TASKS)
    weighting.begin(LOSSES)
    weighting(LOSSES, 0.0).total.backward()
    torch.testing.assert_close(weighting.log_var.grad, torch.zeros(3), atol=1e-6, rtol=0)
    # Gaussian: log L; Bernoulli: log 2L
    expected = torch.log(torch.tensor([0.8, 2 * 0.3, 2 * 0.1]))
    torch.testing.assert_close(weighting.log_var.detach(), expected)


def test_uncertainty_refuses_a_negative_loss():
    with pytest.raises(ValueError, match=r"never negative; found 0.8, -0.1"):
        UncertaintySettings().build(TASKS[:2])(torch.tensor([0.8, -0.1]), 0.0)


def test_uncertainty_survives_a_loss_of_nothing():
    weighting = UncertaintySettings().build(TASKS)
    weighting.begin(torch.tensor([1e-12, 1e-12, 1e-12]))
    total, weights = weighting(torch.tensor([1e-12, 1e-12, 1e-12]), 0.0)
    assert total.isfinite()
    assert weights.max() <= torch.tensor(10.0).exp()


def test_what_a_weighting_learns_is_not_decayed():
    weighting = UncertaintySettings().build(TASKS)
    optimiser = build_optimiser(torch.nn.Linear(2, 2).parameters(), weighting, OptimiserSettings(weight_decay=0.5))
    group = next(g for g in optimiser.param_groups if g["params"][0] is weighting.log_var)
    assert (group["weight_decay"], group["lr"]) == (0.0, WEIGHTING_LR)


@pytest.mark.parametrize(
    ("settings", "expected"),  # at 0, 1/4, 1/2 and 1 of the steps
    [
        ({"shape": "linear", "start": 0.5, "floor": 0.1}, [0.5, 0.375, 0.25, 0.1]),
        ({"shape": "cosine", "start": 1.0}, [1.0, 0.853553, 0.5, 0.0]),
        ({"shape": "exponential", "start": 1.0, "rate": 0.01}, [1.0, 0.316228, 0.1, 0.01]),
        ({"shape": "step", "start": 0.8, "n_steps": 4}, [0.8, 0.6, 0.4, 0.2]),
    ],
)
def test_auxiliary_weights_fall_as_the_formula_says(settings, expected):
    decay = DecaySettings(**settings)
    assert [decay.weight(p) for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(expected, abs=1e-6)


def test_decay_never_weakens_the_main_task():
    weighting = DecaySettings(start=0.5).build(TASKS)
    for progress in (0.0, 0.5, 1.0):
        assert weighting(LOSSES, progress).weights[1] == 1.0


def test_fixed_weights_go_by_the_name_of_the_task():
    weighting = FixedSettings(weights={"classification": 3.0}).build(TASKS)
    assert weighting(LOSSES, 0.0).total.item() == pytest.approx(0.8 + 3 * 0.3 + 0.1)


def test_a_weight_for_a_task_that_is_not_learnt_is_refused():
    with pytest.raises(ValidationError, match="weights are given for classification"):
        Stage(
            name="s", trains=("decoder",), losses=("reconstruction",), epochs=1,
            weighting=FixedSettings(weights={"classification": 1.0}),
        )  # fmt: skip
