import pytest
import torch
from pydantic import ValidationError

from ecgmtl.optimisation import WEIGHTING_LR, OptimiserSettings, build_optimiser
from ecgmtl.stages import Stage
from ecgmtl.weighting.decay import DecaySettings
from ecgmtl.weighting.fixed import FixedSettings
from ecgmtl.weighting.uncertainty import LIMIT, UncertaintySettings
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


def test_uncertainty_refuses_to_start_from_a_negative_loss():
    with pytest.raises(ValueError, match="never negative"):
        UncertaintySettings().build(TASKS).begin(torch.tensor([-0.1, 0.2, 0.3]))


def test_uncertainty_starts_at_half_the_inverse_losses():
    weighting = UncertaintySettings().build(TASKS)
    weighting.begin(LOSSES)
    torch.testing.assert_close(weighting(LOSSES, 0.0).weights, 1 / (2 * LOSSES))


def test_uncertainty_comes_back_from_its_limit():
    weighting = UncertaintySettings().build(("classification",))
    optimiser = torch.optim.Adam(weighting.parameters(), lr=0.5)
    for loss in [0.0] * 40 + [0.2] * 80:  # at the limit, the gradient must still pull back
        optimiser.zero_grad()
        weighting(torch.tensor([loss]), 0.0).total.backward()
        optimiser.step()
        assert abs(weighting.log_var.item()) < LIMIT + 0.6
    assert weighting.log_var.item() > -LIMIT + 1


def test_the_documents_decay_weighs_a_quarter_on_average():
    # max(0.5 (1 - e/E), 0.1) over E = 80 epochs: 65 of them fall from 0.5 by 1/160 to 0.1, 15 stay there
    decay = DecaySettings(shape="linear", start=0.5, floor=0.1)
    by_hand = sum(max(0.5 * (1 - epoch / 80), 0.1) for epoch in range(80)) / 80
    assert by_hand == pytest.approx(0.2625)
    assert sum(decay.weight(epoch / 80) for epoch in range(80)) / 80 == pytest.approx(0.2625)


@pytest.mark.parametrize("shape", ["linear", "cosine", "exponential", "step"])
def test_auxiliary_weights_never_rise_and_keep_above_the_floor(shape):
    decay = DecaySettings(shape=shape, start=0.7, floor=0.2, rate=0.3)
    weights = [decay.weight(step / 100) for step in range(101)]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == 0.7
    assert weights[-1] >= 0.2


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"start": 0.1, "floor": 0.2}, "floor should be lower"), ({"rate": 5}, "less than or equal to 1")],
)
def test_a_decay_that_rises_is_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        DecaySettings(**settings)


def test_the_main_task_of_a_decay_is_one_of_the_stage():
    with pytest.raises(ValueError, match=r"weighting\.main is 'classification', but the stage's losses are recon"):
        DecaySettings().build(("reconstruction",))
