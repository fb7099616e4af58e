import copy
from typing import get_args

import pytest
import torch
from torch import nn

from ecgmtl.device import compiled
from ecgmtl.optimization.gradient_rules import GradientRuleSettings, GramianRule
from ecgmtl.optimization.gradient_rules.gradvac import GradvacSettings
from ecgmtl.optimization.gradient_rules.pcgrad import PcgradSettings
from ecgmtl.optimization.gradient_rules.protect_main import ProtectMainSettings
from ecgmtl.optimization.gradient_rules.sum import Sum, SumSettings
from ecgmtl.optimization.gradient_rules.torchjd import TorchjdSettings
from ecgmtl.optimization.gradients import combined_backward, gradient_norms, task_gradients
from ecgmtl.optimization.weighting import Moment, WeightingSettings
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.optimization.weighting.gradnorm import GradNormSettings
from tests.promises.family import TASKS, each

every_rule = each(GradientRuleSettings)
ONES = torch.ones(2)


class Net(nn.Module):
    """Two tasks on one encoder. By kind, the top layer has a skip connection, or the first head reads below it."""

    def __init__(self, kind="plain"):
        super().__init__()
        self.kind = kind
        self.bottom, self.top = nn.Linear(6, 8), nn.Linear(8, 8)
        self.heads = nn.ModuleList([nn.Linear(8, 3), nn.Linear(8, 2)])
        self.unread = nn.Linear(2, 2)

    def forward(self, x):
        middle = torch.tanh(self.bottom(x))
        features = torch.tanh(self.top(middle))
        if self.kind == "skip":
            features = features + middle
        first = middle if self.kind == "intermediate" else features
        second = features.detach() if self.kind == "detached" else features
        return self.heads[0](first), self.heads[1](second)

    def parts(self):
        return [*self.bottom.parameters(), *self.top.parameters()], [
            *self.heads.parameters(),
            *self.unread.parameters(),
        ]


def losses_of(network, x):
    first, second = network(x)
    return [(first - x[:, :3]).square().mean(), nn.functional.binary_cross_entropy_with_logits(second, x[:, 4:].sign())]


def network(kind="plain"):
    torch.manual_seed(1)
    net = Net("plain" if kind == "frozen" else kind)
    if kind == "frozen":
        net.bottom.requires_grad_(False)
    return net


def by_rule(net, rule, weights=ONES, x=None, run=None):
    losses = losses_of(net if run is None else run, data() if x is None else x)
    combined_backward(losses, weights, rule, *net.parts(), 1, 0)
    return {name: parameter.grad for name, parameter in net.named_parameters()}


def data(n=16):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(5))


def plain(net, weights=ONES):
    first, second = losses_of(net, data())
    (weights[0] * first + weights[1] * second).backward()
    return {name: parameter.grad for name, parameter in net.named_parameters()}


class RowSum(GramianRule):
    """A sum that is computed from the gradient of each task, as the other rules are."""

    def weights(self, gramian, main, step):
        return torch.ones_like(gramian[0])


compiles = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # by torch itself
every_kind = pytest.mark.parametrize("kind", ["plain", "skip", "intermediate", "frozen", "detached"])


@compiles
@every_kind
@pytest.mark.parametrize("rule", [Sum(), RowSum()], ids=["in one pass", "by tasks"])
@pytest.mark.parametrize("is_compiled", [False, True], ids=["eager", "compiled"])
def test_the_sum_rule_equals_a_plain_backward_pass(kind, rule, is_compiled):
    weights = torch.tensor([0.3, 2.0])
    net = network(kind)
    run = compiled(net, backend="aot_eager") if is_compiled else net
    found, expected = by_rule(net, rule, weights, run=run), plain(network(kind), weights)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=lambda message, name=name: f"{name}: {message}")


@compiles
def test_a_compiled_network_gives_task_gradients_after_a_stage_without_them():
    net = network()
    run = compiled(net, backend="aot_eager")
    by_rule(net, Sum(), run=run)
    found, expected = by_rule(net, RowSum(), run=run), plain(network())
    torch.testing.assert_close(found["top.weight"], expected["top.weight"])


@compiles
@pytest.mark.slow
def test_a_network_compiled_by_inductor_gives_task_gradients():
    net = network()
    run = torch.compile(net, options={"cpp.vec_isa_ok": True})  # saves ten compilations that try the processor
    by_rule(net, Sum(), run=run)
    found, expected = by_rule(net, RowSum(), run=run), plain(network())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)


@compiles
def test_a_compiled_network_gives_gradnorm_the_same_norms_and_gradients():
    net = network()
    losses = losses_of(compiled(net, backend="aot_eager"), data())
    norms = gradient_norms(losses, [net.top.weight])
    plain_net = network()
    torch.testing.assert_close(norms, gradient_norms(losses_of(plain_net, data()), [plain_net.top.weight]))
    weighting = GradNormSettings().build(TASKS[:2])
    weighting.observe(norms)
    weights, objective = weighting(torch.stack(losses).detach(), Moment(0, 0, 0.0))
    objective.backward()
    combined_backward(losses, weights, Sum(), *net.parts(), 1, 0)
    for name, gradient in plain(network(), weights).items():
        torch.testing.assert_close(net.get_parameter(name).grad, gradient)


def test_each_row_is_the_gradient_of_one_task():
    net = network()
    shared, own = net.parts()
    rows, own_gradients = task_gradients(losses_of(net, data()), shared, own)
    for i in range(2):
        losses_of(net, data())[i].backward()
        torch.testing.assert_close(rows[i], torch.cat([p.grad.flatten() for p in shared]))
        assert [g is None for g in own_gradients[i]] == [p.grad is None for p in own]
        net.zero_grad()


def test_rows_omit_frozen_parameters_and_are_zero_for_a_detached_head():
    frozen = network("frozen")
    rows, _ = task_gradients(losses_of(frozen, data()), *frozen.parts())
    assert rows.shape == (2, 8 * 8 + 8)
    detached = network("detached")
    rows, _ = task_gradients(losses_of(detached, data()), *detached.parts())
    assert rows[0].norm() > 0
    assert not rows[1].any()


@every_rule
def test_heads_get_their_own_weighted_gradient_under_every_rule(settings):
    if settings is TorchjdSettings:
        pytest.importorskip("torchjd")
    weights = torch.tensor([0.3, 2.0])
    found = by_rule(network(), settings().build(TASKS[:2]), weights)
    expected = plain(network(), weights)
    for name in ("heads.0.weight", "heads.0.bias", "heads.1.weight", "heads.1.bias"):
        torch.testing.assert_close(found[name], expected[name])
    assert found["unread.weight"] is None


@every_rule
def test_a_constant_loss_has_no_effect(settings):
    if settings is TorchjdSettings:
        pytest.importorskip("torchjd")
    net = network()
    first, _ = losses_of(net, data())
    combined_backward(
        [first, torch.zeros(())], torch.tensor([1.0, 0.0]), settings().build(TASKS[:2]), *net.parts(), 1, 0
    )
    expected = plain(network(), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(net.top.weight.grad, expected["top.weight"])
    assert net.heads[1].weight.grad is None


def test_a_detached_head_does_not_stop_the_encoders_gradient():
    found, expected = by_rule(network("detached"), PcgradSettings().build(TASKS[:2])), plain(network("detached"))
    torch.testing.assert_close(found["top.weight"], expected["top.weight"])


def test_the_rule_combines_weighted_gradients():
    net, weights = network(), torch.tensor([5.0, 0.2])
    rows, _ = task_gradients(losses_of(net, data()), *net.parts())
    expected = ProtectMainSettings().build(TASKS[:2]).combine(weights[:, None] * rows, 1, 0)
    found = by_rule(net, ProtectMainSettings().build(TASKS[:2]), weights)
    shared = [found[name].flatten() for name in ("bottom.weight", "bottom.bias", "top.weight", "top.bias")]
    torch.testing.assert_close(torch.cat(shared), expected)


@every_kind
def test_gradients_of_a_bf16_forward_pass_are_float32_and_close_to_exact(kind):
    net = network(kind)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net(data())
        losses = [output.float().square().mean() for output in outputs]
        combined_backward(losses, ONES, RowSum(), *net.parts(), 1, 0)
    full = network(kind)
    sum(output.square().mean() for output in full(data())).backward()
    assert net.top.weight.grad.dtype == torch.float32
    torch.testing.assert_close(
        net.top.weight.grad, full.top.weight.grad, rtol=0.1, atol=2e-2 * full.top.weight.grad.norm()
    )


def test_a_penalty_is_added_after_the_rule():
    net = network()
    before = by_rule(net, PcgradSettings().build(TASKS[:2]))["top.weight"].clone()
    net.top.weight.square().sum().backward()
    torch.testing.assert_close(net.top.weight.grad, before + 2 * net.top.weight.detach())


def test_a_nan_loss_makes_every_shared_gradient_nan():
    net, rule = network(), GradvacSettings().build(TASKS[:2])
    by_rule(net, rule)
    before = copy.deepcopy(rule.state_dict())
    x = data()
    x[3, 2] = torch.nan
    assert all(by_rule(net, rule, x=x)[name].isnan().all() for name in ("bottom.weight", "top.bias"))
    assert torch.equal(rule.state_dict()["target"], before["target"])


class HalfPrecision:
    """A network trained in float16 with loss scaling, as some accelerators require."""

    def __init__(self, weighting, rule):
        self.net, self.weighting, self.rule = network(), weighting.build(TASKS[:2]), rule.build(TASKS[:2])
        self.optimizer = torch.optim.AdamW([*self.net.parameters(), *self.weighting.parameters()], lr=1e-2)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    def step(self, number, x):
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            losses = [output.float().square().mean() for output in self.net(x)]
        if self.weighting.norms_every:
            self.weighting.observe(gradient_norms(losses, [self.net.top.weight]))
        weights, objective = self.weighting(torch.stack(losses).detach(), Moment(number, 0, 0.0))
        scaled = [self.scaler.scale(loss) for loss in losses]
        combined_backward(scaled, weights, self.rule, *self.net.parts(), 1, number)
        if objective is not None:
            self.scaler.scale(objective).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.weighting.looks_again:
            with torch.no_grad(), torch.autocast("cpu", torch.float16):
                self.weighting.look_again(torch.stack([output.float().square().mean() for output in self.net(x)]))
        return weights

    def state(self):
        parts = (self.net, self.optimizer, self.rule, self.weighting)
        return copy.deepcopy([part.state_dict() for part in parts])


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


HALF = [(kind(), SumSettings()) for kind in get_args(get_args(WeightingSettings)[0])]
HALF += [(FixedSettings(), kind()) for kind in get_args(get_args(GradientRuleSettings)[0]) if kind is not SumSettings]


@pytest.mark.parametrize(("weighting", "rule"), HALF, ids=lambda settings: settings.kind)
def test_an_overflowing_half_precision_step_changes_no_state(weighting, rule):
    if isinstance(rule, TorchjdSettings):
        pytest.importorskip("torchjd")
    training, reference = HalfPrecision(weighting, rule), HalfPrecision(weighting, rule)
    for trained in (training, reference):
        trained.step(0, data())
        trained.step(1, data())
    before = training.state()
    training.step(2, data() * 1e6)  # beyond 65504, the largest float16
    assert training.scaler.get_scale() == 2.0**9
    assert same(training.state(), before)
    torch.testing.assert_close(training.step(2, data()), reference.step(2, data()))


def test_gradient_norms_are_per_loss_and_keep_the_graphs():
    net = network("intermediate")
    losses = losses_of(net, data())
    norms = gradient_norms(losses, [net.top.weight])
    assert norms[0] == 0  # the first head reads below the top
    assert not norms.requires_grad
    losses[1].backward()
    torch.testing.assert_close(norms[1], net.top.weight.grad.norm())
