import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ecgmtl.optimization.gradient_rules import GradientRuleSettings
from ecgmtl.optimization.gradient_rules.base import CHUNK
from ecgmtl.optimization.gradient_rules.bisector import BisectorSettings
from ecgmtl.optimization.gradient_rules.cagrad import CagradSettings, of_many
from ecgmtl.optimization.gradient_rules.cosine_gate import CosineGateSettings
from ecgmtl.optimization.gradient_rules.gradvac import GradvacSettings
from ecgmtl.optimization.gradient_rules.mgda import MgdaSettings
from ecgmtl.optimization.gradient_rules.noise import NoiseSettings
from ecgmtl.optimization.gradient_rules.pcgrad import PcgradSettings
from ecgmtl.optimization.gradient_rules.protect_main import ProtectMainSettings
from ecgmtl.optimization.gradient_rules.torchjd import TorchjdSettings
from tests.promises.family import TASKS, each

every_rule = each(GradientRuleSettings)
SHAPES = ("random", "unequal", "conflicting", "opposed", "parallel", "equal")


def build(kind, n_tasks=2):
    if kind is TorchjdSettings:
        pytest.importorskip("torchjd")
    return kind().build(TASKS[:n_tasks])


def jacobian(shape, n_tasks=2, n_parameters=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n_tasks, n_parameters, generator=generator)
    if shape == "unequal":
        rows *= torch.logspace(0, 3, n_tasks)[:, None]
    if shape == "conflicting":
        rows[1:] -= 2 * rows[0]
    if shape == "opposed":
        rows[1] = -0.5 * rows[0]
    if shape == "parallel":
        rows = rows[0] + 1e-3 * rows
    if shape == "equal":
        rows = rows[:1].expand(n_tasks, -1).clone()
    return rows


def factors(kind_settings, rows, main=0, step=0, seed=0):
    wide = rows.double()
    return kind_settings.build(TASKS[: len(rows)], seed)(wide @ wide.T, main, step)


def direction(vector):
    return vector.double() / vector.double().norm()


@every_rule
@pytest.mark.parametrize("n_tasks", [2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_is_finite_and_no_longer_than_a_few_gradients(settings, shape, n_tasks):
    rows = jacobian(shape, n_tasks)
    step = build(settings, n_tasks).combine(rows, 0, 0)
    assert (step.shape, step.dtype) == (rows[0].shape, torch.float32)
    assert step.norm() <= 3 * rows.norm(dim=1).sum()


@every_rule
@pytest.mark.parametrize("n_tasks", [2, 3])
@pytest.mark.parametrize("shape", ["random", "unequal", "conflicting", "parallel"])
@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1e3])
def test_scaling_all_losses_does_not_change_the_direction_of_a_step(settings, shape, n_tasks, scale):
    rows = jacobian(shape, n_tasks)
    plain, scaled = (build(settings, n_tasks).combine(scale_by * rows, 0, 0) for scale_by in (1.0, scale))
    torch.testing.assert_close(scaled.double() / scale, plain.double(), rtol=1e-5, atol=1e-6 * float(plain.norm()))


@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_a_gramian_computed_in_blocks_equals_the_whole_one(beside):
    rows = jacobian("conflicting", n_parameters=2 * CHUNK + beside)
    step = build(PcgradSettings).combine(rows, 0, 0)
    torch.testing.assert_close(step, (factors(PcgradSettings(), rows) @ rows.double()).float(), rtol=0, atol=1e-6)


@every_rule
def test_a_single_task_keeps_its_gradient(settings):
    rows = jacobian("random", 1)
    torch.testing.assert_close(build(settings, 1).combine(rows, 0, 0), rows[0])


@every_rule
@pytest.mark.parametrize("silent", [0, 1])
def test_a_task_without_gradient_has_no_influence(settings, silent):
    rows = jacobian("conflicting")
    rows[silent] = 0
    torch.testing.assert_close(build(settings).combine(rows, 0, 0), rows[1 - silent])


@every_rule
def test_without_any_gradient_there_is_no_step(settings):
    assert torch.equal(build(settings).combine(torch.zeros(2, 5), 0, 0), torch.zeros(5))


@every_rule
def test_a_third_task_without_gradient_does_not_change_the_step(settings):
    rows = jacobian("conflicting", 3)
    rows[2] = 0
    alone = build(settings).combine(rows[:2], 0, 0)
    torch.testing.assert_close(build(settings, 3).combine(rows, 0, 0), alone)


@every_rule
@pytest.mark.parametrize("n_tasks", [2, 3])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_nan_gradient_makes_the_whole_step_nan_and_changes_no_state(settings, n_tasks, bad):
    rule, untouched = build(settings, n_tasks), build(settings, n_tasks)
    rows = jacobian("random", n_tasks)
    for each_rule in (rule, untouched):
        each_rule.combine(rows, 0, 0)
    spoilt = rows.clone()
    spoilt[1, 3] = bad
    assert rule.combine(spoilt, 0, 1).isnan().all()
    again = jacobian("conflicting", n_tasks)
    assert torch.equal(rule.combine(again, 0, 2), untouched.combine(again, 0, 2))


@every_rule
def test_a_restored_rule_continues_with_the_same_steps(settings, tmp_path):
    def run(rule, steps):
        return torch.stack([rule.combine(jacobian("random", 3, seed=step), 1, step) for step in steps])

    straight = build(settings, 3)
    run(straight, range(7))
    torch.save(straight.state_dict(), tmp_path / "state")
    fresh = build(settings, 3)
    fresh.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert torch.equal(run(straight, range(7, 17)), run(fresh, range(7, 17)))


@every_rule
def test_randomness_depends_on_the_step_and_leaves_the_global_generator_unchanged(settings):
    rows = jacobian("conflicting", 3)
    before = torch.get_rng_state()
    first = build(settings, 3).combine(rows, 0, 5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(build(settings, 3).combine(rows, 0, 5), first)


@every_rule
@pytest.mark.parametrize("shape", SHAPES)
def test_with_two_tasks_their_order_does_not_matter(settings, shape):
    rows = jacobian(shape)
    one, other = build(settings).combine(rows, 0, 0), build(settings).combine(rows.flip(0), 1, 0)
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(rows.norm()))


@every_rule
def test_a_rule_is_selected_by_its_kind_and_an_unknown_kind_is_refused(settings):
    kind = settings().kind
    assert TypeAdapter(GradientRuleSettings).validate_python({"kind": kind}) == settings()
    with pytest.raises(ValidationError):
        TypeAdapter(GradientRuleSettings).validate_python({"kind": kind + "x"})


def test_pcgrad_gives_the_values_of_its_formula():
    # g1 = (1, 0), g2 = (-1, 1): G = [[1, -1], [-1, 2]]; factors 1 + 1/1 and 1 + 1/2
    rows = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    assert factors(PcgradSettings(), rows).tolist() == [2.0, 1.5]
    assert factors(PcgradSettings(), rows.abs()).tolist() == [1.0, 1.0]  # no conflict


def test_pcgrad_projects_tasks_not_single_parameters():
    # in conflict as wholes (1·1 - 2·1 < 0) but not in the first parameter, which must be projected all the same
    rows = torch.tensor([[1.0, 2.0], [1.0, -1.0]])
    step = build(PcgradSettings).combine(rows, 0, 0)
    # G = [[5, -1], [-1, 2]]: factors 1 + 1/5 and 1 + 1/2; step = 1.2 (1, 2) + 1.5 (1, -1)
    torch.testing.assert_close(step, torch.tensor([2.7, 0.9]))


@given(seed=st.integers(0, 1000), against=st.floats(-3, 3))
@settings(max_examples=30, deadline=None)
def test_pcgrad_of_two_tasks_raises_the_loss_of_neither(seed, against):
    rows = jacobian("random", seed=seed)
    rows[1] += against * rows[0]
    step = build(PcgradSettings).combine(rows, 0, 0)
    assert (rows @ step >= -1e-4 * rows.norm(dim=1) * step.norm()).all()


def test_pcgrads_order_of_three_tasks_depends_on_its_seed():
    rows = jacobian("conflicting", 3)
    rows[2] -= 2 * rows[1]
    found = {tuple(factors(PcgradSettings(), rows, seed=seed).tolist()) for seed in range(10)}
    assert len(found) > 1
    by_step = {tuple(factors(PcgradSettings(), rows, step=step).tolist()) for step in range(10)}
    assert len(by_step) > 1


@given(
    seed=st.integers(0, 1000),
    weight=st.floats(0, 10, allow_subnormal=False),
    n_tasks=st.integers(2, 3),
    main=st.integers(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_protect_main_never_opposes_the_main_gradient(seed, weight, n_tasks, main):
    rows = jacobian("conflicting", n_tasks, seed=seed)
    rows[[i for i in range(n_tasks) if i != main]] *= weight
    step = build(ProtectMainSettings, n_tasks).combine(rows, main, 0)
    assert rows[main] @ step >= rows[main].square().sum() * (1 - 1e-5)


def test_protect_main_tends_to_the_main_gradient_as_the_other_weights_tend_to_zero():
    rows = jacobian("conflicting")
    weights = [torch.tensor([[1.0], [weight]]) for weight in (0.0, 1e-6)]
    at_zero, above = (build(ProtectMainSettings).combine(weight * rows, 0, 0) for weight in weights)
    assert torch.equal(at_zero, rows[0])
    torch.testing.assert_close(above, at_zero, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [MgdaSettings, BisectorSettings])
def test_other_rules_are_discontinuous_where_a_weight_becomes_zero(kind):
    rows = jacobian("conflicting")
    steps = [build(kind).combine(torch.tensor([[1.0], [weight]]) * rows, 0, 0) for weight in (0.0, 1e-6)]
    assert torch.equal(steps[0], rows[0])
    assert steps[1].norm() < 1e-3 * steps[0].norm()  # which is why they do not go with a decay


def test_protect_main_has_the_value_of_its_formula():
    # g_m = (2, 0), the others (-1, 1) and (-3, 0): 1 - (-2 - 6) / 4 = 3
    rows = torch.tensor([[-1.0, 1.0], [2.0, 0.0], [-3.0, 0.0]])
    assert factors(ProtectMainSettings(), rows, main=1).tolist() == [1.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("weighted", "expected"),
    [(True, [1.0, math.sqrt(0.5), 0.0]), (False, [1.0, 1.0, 0.0])],  # cosines 1, 45 degrees, more than 90
)
def test_the_cosine_gate_scales_a_gradient_by_its_cosine(weighted, expected):
    rows = torch.tensor([[2.0, 0.0], [3.0, 3.0], [-1.0, 4.0]])
    assert factors(CosineGateSettings(weighted=weighted), rows).tolist() == pytest.approx(expected)


def test_the_cosine_gate_at_a_right_angle_is_fully_open_or_closed():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert factors(CosineGateSettings(weighted=False), rows).tolist() == [1.0, 1.0]
    assert factors(CosineGateSettings(), rows).tolist() == [1.0, 0.0]


def test_mgda_has_the_values_of_its_formula():
    # g1 = (1, 0), g2 = (0, 2): w1 = (4 - 0) / (1 + 4) = 0.8; the foot of the perpendicular onto the line
    assert factors(MgdaSettings(), torch.tensor([[1.0, 0.0], [0.0, 2.0]])).tolist() == pytest.approx([0.8, 0.2])
    # g2 beyond g1: the shorter one alone
    assert factors(MgdaSettings(), torch.tensor([[1.0, 0.0], [3.0, 1.0]])).tolist() == [1.0, 0.0]


@given(seed=st.integers(0, 1000), n_tasks=st.integers(2, 3), shape=st.sampled_from(SHAPES))
@settings(max_examples=40, deadline=None)
def test_mgda_finds_the_shortest_combination(seed, n_tasks, shape):
    rows = jacobian(shape, n_tasks, seed=seed).double()
    weights = factors(MgdaSettings(), rows)
    assert weights.sum().item() == pytest.approx(1)
    assert (weights >= 0).all()
    step = weights @ rows
    # its condition: every gradient lies at least as far along the step as the step is long
    assert (rows @ step >= step @ step - 1e-9 * rows.square().sum()).all()


def value(gramian, weights, c):
    """What CAGrad minimizes, at weights (n, task)."""
    mean = np.full(len(gramian), 1 / len(gramian))
    lengths = np.sqrt(np.einsum("ni,ij,nj->n", weights, gramian, weights).clip(min=0))
    return weights @ gramian @ mean + c * np.sqrt(mean @ gramian @ mean) * lengths


@pytest.mark.parametrize("c", [0.2, 0.4, 1.5])
@pytest.mark.parametrize("n_tasks", [2, 3])
@pytest.mark.parametrize("shape", ["random", "unequal", "conflicting", "parallel"])
def test_cagrad_finds_the_minimum_of_its_problem(shape, n_tasks, c):
    rows = jacobian(shape, n_tasks).double()
    gramian = (rows @ rows.T).numpy()
    mixed = factors(CagradSettings(c=c), rows).numpy() - 1 / n_tasks
    best = value(gramian, mixed[None] / mixed.sum(), c)[0]
    tried = np.random.default_rng(0).dirichlet(np.full(n_tasks, 0.3), 20000)
    assert best <= value(gramian, tried, c).min() + 1e-9 * gramian.trace()


@pytest.mark.parametrize("c", [0.0, 0.4, 0.99, 1.5])
@pytest.mark.parametrize("shape", ["random", "unequal", "conflicting", "parallel", "equal"])
def test_the_closed_form_for_two_tasks_equals_the_general_solution(shape, c):
    rows = jacobian(shape).double()
    gramian = rows @ rows.T
    by_search = torch.from_numpy(of_many(gramian.numpy() / gramian.diagonal().min().item(), c))
    closed, searched = factors(CagradSettings(c=c), rows) @ rows, by_search @ rows
    torch.testing.assert_close(direction(closed), direction(searched), atol=1e-7, rtol=0)
    torch.testing.assert_close(closed.norm(), searched.norm(), rtol=1e-6, atol=0)


def test_cagrad_is_the_mean_for_c_zero_and_tends_to_mgda_for_large_c():
    rows = jacobian("conflicting", 3)
    mean, much = (CagradSettings(c=c).build(TASKS).combine(rows, 0, 0) for c in (0.0, 1e6))
    torch.testing.assert_close(mean, rows.mean(dim=0))
    shortest = build(MgdaSettings, 3).combine(rows, 0, 0)
    torch.testing.assert_close(direction(much), direction(shortest), atol=1e-4, rtol=0)


def test_cagrad_with_c_above_one_takes_no_step_for_opposite_gradients():
    assert factors(CagradSettings(c=1.5), jacobian("opposed")).tolist() == [0.0, 0.0]
    assert (factors(CagradSettings(c=0.4), jacobian("opposed")) > 0).all()


@pytest.mark.parametrize("n_tasks", [2, 3])
@pytest.mark.parametrize("shape", ["random", "unequal", "conflicting", "parallel"])
def test_the_bisector_has_equal_projections_on_all_gradients(shape, n_tasks):
    rows = jacobian(shape, n_tasks).double()
    weights = factors(BisectorSettings(), rows)
    along = rows @ (weights @ rows) / rows.norm(dim=1)
    torch.testing.assert_close(along, along.mean().expand(n_tasks), rtol=1e-5, atol=0)
    assert (along > 0).all()
    assert weights.abs().sum().item() == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1.0, 1e3])
def test_the_bisector_solves_the_bargaining_problem_of_two_tasks(scale):
    rows = scale * jacobian("conflicting").double()
    gramian = rows @ rows.T
    # Nash-MTL: the solution of G a = 1 / a is a_i = 1 / (|g_i| sqrt(1 + cos))
    norms = gramian.diagonal().sqrt()
    nash = 1 / (norms * (1 + gramian[0, 1] / norms.prod()).sqrt())
    torch.testing.assert_close(gramian @ nash, 1 / nash)
    torch.testing.assert_close(direction(factors(BisectorSettings(), rows) @ rows), direction(nash @ rows))


def test_gradvac_raises_the_cosine_to_its_running_mean():
    rule = GradvacSettings(beta=1.0).build(TASKS[:1] * 2)
    first = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)  # cosine 0.6, which is then the aim
    rule(first @ first.T, 0, 0)
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    # each gets the other times 0.6 / 0.8 = 0.75
    found = rule(rows @ rows.T, 0, 1)
    assert found.tolist() == pytest.approx([1.75, 1.75])
    bent = rows[0] + 0.75 * rows[1]
    assert (bent @ rows[1] / bent.norm()).item() == pytest.approx(0.6)


def test_gradvac_with_beta_zero_equals_pcgrad():
    rows = jacobian("conflicting", 3)
    torch.testing.assert_close(factors(GradvacSettings(beta=0), rows), factors(PcgradSettings(), rows))


def test_a_task_without_gradient_does_not_change_gradvacs_running_means():
    rule = build(GradvacSettings, 3)
    rule.combine(jacobian("parallel", 3), 0, 0)
    before = rule.target.clone()
    rows = jacobian("conflicting", 3)
    rows[2] = 0
    rule.combine(rows, 0, 1)
    assert torch.equal(rule.target[2], before[2])
    assert torch.equal(rule.target[:, 2], before[:, 2])
    assert rule.target[0, 1] < before[0, 1]


def test_noise_has_the_norm_of_the_gradient_it_replaces_and_no_correlation_with_it():
    rows = jacobian("unequal", n_parameters=20_000)
    added = [build(NoiseSettings).combine(rows, 0, step) - rows[0] for step in range(3)]
    for noise in added:
        assert math.isclose(noise.norm(), rows[1].norm(), rel_tol=1e-5)
        assert abs(direction(noise) @ direction(rows[1])) < 0.03  # 1/sqrt(20,000) is 0.007
    assert abs(direction(added[0]) @ direction(added[1])) < 0.03
