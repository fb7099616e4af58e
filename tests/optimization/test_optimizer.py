import pytest
import torch
from torch import nn

from ecgmtl.config.run import Config
from ecgmtl.model.encoders.s4d import S4dSettings
from ecgmtl.model.sharing.cross_stitch import CrossStitchSettings
from ecgmtl.model.sharing.hard import HardSettings
from ecgmtl.optimization.optimizer import OptimizerSettings, WeightAverage, build_optimizer, layer_rates, set_lr
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.optimization.weighting.uncertainty import UncertaintySettings


def one_layer(network):
    return [(1.0, network.parameters())]


@pytest.mark.parametrize(
    ("settings", "expected"),  # at 0, half of the warm-up, its end, half of the rest, the end
    [
        ({"schedule": "cosine", "warmup": 0.2}, [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.6, 0.5), (1.0, 0.0)]),
        ({"schedule": "one_cycle"}, [(0.0, 0.0), (0.15, 0.5), (0.3, 1.0), (0.65, 0.5), (1.0, 0.0)]),
        ({"schedule": "constant", "warmup": 0.2}, [(0.1, 0.5), (0.2, 1.0), (1.0, 1.0)]),
    ],
)
def test_the_learning_rate_follows_its_schedule(settings, expected):
    optimizer = OptimizerSettings(lr=1.0, **settings)
    assert [optimizer.lr_at(p) for p, _ in expected] == pytest.approx([lr for _, lr in expected], abs=1e-9)


def test_weight_decay_applies_to_matrices_only():
    network = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3))
    optimizer = build_optimizer(one_layer(network), FixedSettings().build(("classification",)), OptimizerSettings())
    decayed = {id(p) for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {id(network[0].weight)}


def test_ema_weights_equal_a_loop_by_hand():
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


def test_ema_weights_without_decay_are_the_current_weights():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, decay=0.0)
    model(torch.randn(8, 2))
    average.update(model)
    assert all(torch.equal(average.mean[name], value) for name, value in model.state_dict().items())


def test_the_learning_rate_starts_at_its_peak_without_warmup():
    assert OptimizerSettings(lr=1.0, warmup=0.0).lr_at(0.0) == 1.0
    assert OptimizerSettings(lr=1.0, warmup=0.0, schedule="constant").lr_at(0.0) == 1.0


def test_a_step_with_zero_gradients_shrinks_matrices_only():
    network = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3))
    weighting = UncertaintySettings().build(("classification",))
    weighting.log_var.data.fill_(2.0)
    settings = OptimizerSettings(lr=0.1, weight_decay=0.5)
    optimizer = build_optimizer(one_layer(network), weighting, settings)
    before = {name: value.clone() for name, value in network.named_parameters()}
    for parameter in (*network.parameters(), *weighting.parameters()):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(network[0].weight, before.pop("0.weight") * (1 - 0.1 * 0.5))
    assert all(torch.equal(network.get_parameter(name), value) for name, value in before.items())
    assert weighting.log_var.item() == 2.0


def test_frozen_parameters_are_not_in_the_optimizer():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    weighting = FixedSettings().build(("classification",))
    optimizer = build_optimizer(one_layer(network), weighting, OptimizerSettings())
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {
        id(p) for p in network[1].parameters()
    }


def test_the_weighting_has_its_own_learning_rate():
    weighting = UncertaintySettings().build(("classification",))
    optimizer = build_optimizer(one_layer(nn.Linear(2, 2)), weighting, OptimizerSettings())
    set_lr(optimizer, 0.123)
    assert [group["lr"] for group in optimizer.param_groups] == [0.123, 0.123, weighting.lr]


def test_restored_ema_weights_continue_identically():
    model = nn.BatchNorm1d(2)
    first, second = WeightAverage(model, 0.9), WeightAverage(model, 0.9)
    for _ in range(3):
        model(torch.randn(8, 2))
        first.update(model)
    second.load_state_dict({name: torch.as_tensor(value).clone() for name, value in first.state_dict().items()})
    model(torch.randn(8, 2))
    for average in (first, second):
        average.update(model)
    assert all(torch.equal(first.mean[name], second.mean[name]) for name in first.mean)
    assert first.mean["num_batches_tracked"] == 4  # a count is copied, not averaged


def test_deeper_layers_have_lower_learning_rates():
    model = Config().build_model(5)
    weighting, settings = FixedSettings().build(("classification",)), OptimizerSettings(layer_decay=0.5)
    optimizer = build_optimizer(layer_rates(model, settings), weighting, settings)
    set_lr(optimizer, 1.0)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert set(rates) == {id(p) for p in model.parameters()}
    assert all(
        rates[id(p)] == 1.0
        for part in (model.heads["reconstruction"], model.heads["classification"])
        for p in part.parameters()
    )
    layers = model.encoder.layers()
    for height, layer in enumerate(layers):
        assert {rates[id(p)] for p in layer} == {0.5 ** (len(layers) - height)}


@pytest.mark.parametrize("sharing", [HardSettings(), CrossStitchSettings()], ids=lambda sharing: sharing.kind)
@pytest.mark.parametrize(("lr", "expected"), [(4e-3, 0.25), (1e-3, 1.0), (5e-4, 1.0)])
def test_s4d_time_scales_have_a_low_learning_rate_and_no_weight_decay(sharing, lr, expected):
    model = Config(encoder=S4dSettings(stem=(4,), depth=1, state=2), sharing=sharing).build_model(5)
    weighting, settings = FixedSettings().build(("classification",)), OptimizerSettings(lr=lr, layer_decay=0.5)
    optimizer = build_optimizer(layer_rates(model, settings), weighting, settings)
    set_lr(optimizer, 1.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    slow = {name for name in names.values() if name.endswith(("log_step", "log_damping", "frequency"))}
    assert len(slow) == 3 * (1 if sharing.kind == "hard" else 2)
    assert {rates[name] for name in slow} == {(0.5 * expected, 0.0)}  # the last block lies one below the heads
    assert {rates[name] for name in names.values() if name.endswith("readout")} == {(0.5, settings.weight_decay)}
    assert rates.keys() == set(names.values())


def test_for_sgd_a_factor_on_the_loss_equals_one_on_the_learning_rate():
    moved = []
    for factor, lr in ((0.1, 1.0), (1.0, 0.1)):
        weight = nn.Parameter(torch.ones(2, 2))
        settings = OptimizerSettings(algorithm="sgd", lr=lr, weight_decay=0.0)
        optimizer = build_optimizer([(1.0, [weight])], FixedSettings().build(("classification",)), settings)
        for _ in range(3):
            optimizer.zero_grad()
            (factor * weight.square().sum()).backward()
            optimizer.step()
        moved.append(weight.detach())
    torch.testing.assert_close(*moved)
