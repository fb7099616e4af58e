import pytest
import torch
from torch import nn

from ecgmtl.optimisation import OptimiserSettings, WeightAverage, build_optimiser
from ecgmtl.weighting.fixed import FixedSettings


@pytest.mark.parametrize(
    ("settings", "expected"),  # at 0, half of the warm-up, its end, half of the rest, the end
    [
        ({"schedule": "cosine", "warmup": 0.2}, [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.6, 0.5), (1.0, 0.0)]),
        ({"schedule": "one_cycle"}, [(0.0, 0.0), (0.15, 0.5), (0.3, 1.0), (0.65, 0.5), (1.0, 0.0)]),
        ({"schedule": "constant", "warmup": 0.2}, [(0.1, 0.5), (0.2, 1.0), (1.0, 1.0)]),
    ],
)
def test_the_rate_follows_its_schedule(settings, expected):
    optimiser = OptimiserSettings(lr=1.0, **settings)
    assert [optimiser.lr_at(p) for p, _ in expected] == pytest.approx([lr for _, lr in expected], abs=1e-9)


def test_only_matrices_are_decayed():
    network = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3))
    optimiser = build_optimiser(network.parameters(), FixedSettings().build(("classification",)), OptimiserSettings())
    decayed = {id(p) for g in optimiser.param_groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {id(network[0].weight)}


def test_the_running_mean_equals_a_loop_by_hand():
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, decay=0.3)
    mean = model.weight.item()
    for step in range(5):
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update(model)
        decay = min(0.3, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * step
    assert average.mean["weight"].item() == pytest.approx(mean)


def test_without_decay_the_mean_is_the_last_value():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, decay=0.0)
    model(torch.randn(8, 2))
    average.update(model)
    assert all(torch.equal(average.mean[name], value) for name, value in model.state_dict().items())
